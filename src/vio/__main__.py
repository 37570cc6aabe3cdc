"""Run vio, as `vio` and as `python -m vio`."""

import sys

from vio.ownprocess import prepare


def main() -> int:
    """Run the command line's command and return its exit code."""
    prepare()
    # Only here: the processes that a command starts import this module once more, and have no command line.
    from vio.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
