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
