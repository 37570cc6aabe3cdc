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
    impl: Any = getattr(kept, "_impl", None)
    if hasattr(impl, "rebuild"):
        impl.rebuild = _without_scan(impl.rebuild)


def _without_scan(rebuild: Callable[..., object]) -> Callable[..., object]:
    """Load without listing the names in a module, a quarter of the time: two of a loop's are ever asked for."""

    def rebuild_alone(target: object, payload: tuple[object, ...]) -> object:
        codegen: Any = getattr(target, "codegen", None)
        engine: Any = getattr(codegen(), "_engine", None) if codegen else None
        parts = ("func_name", "cpython_wrapper_name")
        names = [getattr(payload[1], f"llvm_{part}", None) for part in parts] if len(payload) > 1 else [None]
        if None in names or not hasattr(engine, "_load_defined_symbols") or not hasattr(engine, "_defined_symbols"):
            return rebuild(target, payload)
        engine._defined_symbols.update(names)
        engine._load_defined_symbols = _list_none
        try:
            return rebuild(target, payload)
        finally:
            del engine._load_defined_symbols

    return rebuild_alone


def _list_none(module: object) -> None:
    pass


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
