#!/bin/bash
# Run the tests in two parts, both at once.
#   traced   what traces for real: it counts and times what this machine does, so these tests run one after the other, and
#            have the processors whenever they want them. Half of the time they do not: they wait for devices and guests.
#   others   only while the processors have nothing else to do (SCHED_IDLE): first those of a lab host, which is one
#            machine, and then the rest, on as many processes as there are processors
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=.venv/bin/python
said=$(mktemp)
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -f "$said"' EXIT

idle=(chrt --idle 0)
"${idle[@]}" true 2>/dev/null || idle=(nice -n 19)

others() {
    local lab rest
    "${idle[@]}" "$python" -m pytest -m 'lab and not (beside or long)'
    lab=$?
    "${idle[@]}" "$python" -m pytest -m 'beside or not (live or lab)' -n "$(nproc)"
    rest=$?
    [ "$lab" = 0 ] && [ "$rest" = 0 ]
}

echo "the tests of a lab host, and those that trace nothing, run beside these, and are shown at the end"
others >"$said" 2>&1 &
"$python" -m pytest -m 'live and not (lab or beside or long)'
traced=$?
echo "waiting for the other tests"
wait $!
code=$?
cat "$said"
[ "$traced" = 0 ] && [ "$code" = 0 ]
