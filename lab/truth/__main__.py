"""`make truth`: put known delays into known places, and print what the report makes of them.

`python -m lab.truth NAME...` does some of it; `--keep FILE` keeps the recording.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from lab.truth.injections import INJECTIONS
from lab.truth.runner import run
from lab.truth.table import expectations, figures


def main(words: list[str]) -> int:
    """Run the named injections, all by default; print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m lab.truth")
    parser.add_argument("--keep", type=Path, help="where to keep the recording")
    parser.add_argument("--changes", action="store_true", help="print every place that changes")
    parser.add_argument("names", nargs="*", choices=[[], *(one.name for one in INJECTIONS)], metavar="NAME")
    given = parser.parse_args(words)
    chosen = [one for one in INJECTIONS if not given.names or one.name in given.names]
    with tempfile.TemporaryDirectory(prefix="vio-truth-") as scratch:
        result = run(chosen, given.keep or Path(scratch) / "truth.vio")
    print(f"{expectations(chosen)}\n\n{figures(result)}")
    if given.changes:
        for outcome in result.outcomes:
            changes = outcome.judged.changes if outcome.judged else {}
            print(outcome.injection.name, f"{outcome.seconds:.1f} s", {k: v / 1e6 for k, v in changes.items() if v})
    return 0 if all(one.judged is None or one.judged.is_met for one in result.outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
