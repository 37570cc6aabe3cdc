"""The machine code that Numba keeps from run to run: loaded without the compiler, and forgiven where it fails."""

import importlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, Protocol

from numba.core.runtime.nrt import rtsys


class Cache(Protocol):
    """What Numba keeps the code of one loop by."""

    load_overload: Callable[..., object]
    save_overload: Callable[..., object]


def load_without_compiler(kept: Cache) -> None:
    """Load without what only compiling needs: Numba would import all of that first, for 0.2 s of CPU."""
    load: Callable[..., object] | None = getattr(kept, "_load_overload", None)
    if load is None:
        return

    def load_alone(signature: object, target: object) -> object:
        rtsys.initialize(target)
        _import_without_scipy()
        return load(signature, target)

    kept.load_overload = load_alone


@cache
def _import_without_scipy() -> None:
    """Import what kept code may refer to; Numba would ask SciPy, for 0.2 s of CPU, whether np.dot can be compiled."""
    linalg: Any = importlib.import_module("numba.np.linalg")
    asks = getattr(linalg, "ensure_blas", None)
    if asks is None:
        return
    linalg.ensure_blas = _have_none
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        linalg.ensure_blas = asks


def _have_none() -> None:
    raise ImportError("no loop multiplies matrices")


def forgive(kept: Cache) -> None:
    """Do without what cannot be kept (a full disk) or read back (a file cut short): Numba would raise the error."""

    def forgiving(step: Callable[..., object]) -> Callable[..., object]:
        def try_it(*arguments: object) -> object:
            with suppress(OSError, EOFError, pickle.PickleError):
                return step(*arguments)
            return None

        return try_it

    kept.load_overload, kept.save_overload = forgiving(kept.load_overload), forgiving(kept.save_overload)
