#!/bin/bash
# Run the tests in two parts, both at once.
#   timed    what traces for real, or runs on a lab host: it counts and times what the machine does, so these tests run
#            one after the other, and have the processors whenever they want them. Half of the time they do not: they
#            wait for devices and guests. The lab's come last, and mostly alone: an emulated host that is slowed down
#            misses events.
#   others   on as many processes as there are processors, while those have nothing else to do (SCHED_IDLE)
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=.venv/bin/python
said=$(mktemp)
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -f "$said"' EXIT

idle=(chrt --idle 0)
"${idle[@]}" true 2>/dev/null || idle=(nice -n 19)

echo "the tests that neither trace nor need a lab host run beside these, and are shown at the end"
"${idle[@]}" "$python" -m pytest -m 'beside or not (live or lab)' -n "$(nproc)" >"$said" 2>&1 &
"$python" -m pytest -m '(live or lab) and not (beside or long)'
timed=$?
echo "waiting for the other tests"
wait $!
code=$?
cat "$said"
[ "$timed" = 0 ] && [ "$code" = 0 ]
