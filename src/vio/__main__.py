"""Run vio, as `vio` and as `python -m vio`."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from vio.cli import run


class _WithoutPandas(MetaPathFinder):
    """No command needs pandas, but pyarrow imports it at its first array: a sixth of the time of a small report."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("no command of vio needs pandas", name="pandas")
        return None


def main() -> int:
    """Run the command line's command and return its exit code."""
    sys.meta_path.insert(0, _WithoutPandas())
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
