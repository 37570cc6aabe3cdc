"""Run vio, as `vio` and as `python -m vio`."""

import sys

from vio.cli import run
from vio.ownprocess import prepare


def main() -> int:
    """Run the command line's command and return its exit code."""
    prepare()
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
