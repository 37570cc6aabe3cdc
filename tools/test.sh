#!/bin/bash
# Run the tests in two parts, both at once.
#   timed    what traces for real, or runs on a lab host: it counts and times what the machine does, so these tests run
#            one after the other, and have the processors whenever they want them. Half of the time they do not: they
#            wait for devices and guests.
#   others   on as many processes as there are processors, while those have nothing else to do (SCHED_IDLE)
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=.venv/bin/python
said=$(mktemp)
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -f "$said"' EXIT

echo "the other tests run beside these, and are shown at the end"
chrt --idle 0 "$python" -m pytest -m 'beside or not (live or lab)' -n "$(nproc)" >"$said" 2>&1 &
others=$!
"$python" -m pytest -m '(live or lab) and not (beside or long)'
timed=$?
wait "$others"
code=$?
cat "$said"
[ "$timed" = 0 ] && [ "$code" = 0 ]
