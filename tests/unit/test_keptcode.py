"""Machine code that was kept is loaded without the compiler."""

import subprocess
import sys

SCRIPT = """
import sys
import numpy as np
from vio.reporter.compiled import pick
assert pick(np.array([7]), np.array([0, 1])).tolist() == [7, -1]
print(sorted({"scipy.linalg", "numba.typed.typeddict"} & set(sys.modules)))
"""


def test_nothing_that_only_compiling_needs_is_imported() -> None:
    run = [sys.executable, "-c", SCRIPT]
    subprocess.run(run, check=True, capture_output=True)  # keeps it, if no run before did
    found = subprocess.run(run, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


MIXED = """
import numba
import numpy as np
from vio.reporter.compiled import new_table, place_of

keys, numbers = new_table(4)
seven = np.uint64(7)
kept = place_of(keys, numbers, keys.size - 1, seven)

@numba.njit
def fresh(keys, numbers):
    keys, numbers = new_table(keys.size)
    return place_of(keys, numbers, 63, np.uint64(7))

print(fresh(keys, numbers) == kept, sum(place_of.stats.cache_misses.values()))
"""


def test_what_is_compiled_now_may_call_what_was_kept() -> None:
    run = [sys.executable, "-c", MIXED]
    subprocess.run(run, check=True, capture_output=True)
    found = subprocess.run(run, check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["True", "0"]
