"""Run vio, as `vio` and as `python -m vio`."""

import sys

from vio.cli import run


def main() -> int:
    """Run the command line's command and return its exit code."""
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
