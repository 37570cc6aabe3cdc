"""What libraries import and no command of vio needs."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _WithoutPandas(MetaPathFinder):
    """No command needs pandas, but pyarrow imports it at its first array: a sixth of the time of a small report."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("no command of vio needs pandas", name="pandas")
        return None


def do_without_pandas() -> None:
    """Keep this process from importing pandas."""
    sys.meta_path.insert(0, _WithoutPandas())
