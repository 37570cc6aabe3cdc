"""How a process of vio's own is set up: that of a command, and those that it starts for a share of the work.

Not one in which vio is a library: how such a process holds its memory is for its owner to say.
"""

import atexit
import ctypes
import gc
import importlib
import os
import sys

from vio.lessimports import do_without_pandas

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_KEPT_BYTES = 1 << 30
_LARGEST_BYTES = 1 << 25  # as much as every version takes
_THREADS = "OPENBLAS_NUM_THREADS"
_OBJECTS = 200_000


def prepare() -> None:
    """Do what every command is quicker with."""
    do_without_pandas()
    # The arrays of a window are in no cycles: the collector's usual rounds, one for 700 objects, found nothing in them;
    # nor has it to look through all that imports make.
    gc.set_threshold(_OBJECTS)


def keep_memory() -> None:
    """Let each array have the memory of one before: given back, the kernel has to clear it and map it once more.

    That is half of a long report's time in the kernel. And a tenth of its memory, as the allocators of Arrow and of
    NumPy hold what is free each for itself. One arena, for those of threads are small. Of other C libraries than GNU's
    nothing is asked. At the end all goes back at once, so what is there is not looked through for cycles: 0.1 s.
    """
    atexit.register(_end)
    _import_numpy()
    import pyarrow as pa

    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return
    for option, value in ((_M_TRIM_THRESHOLD, _KEPT_BYTES), (_M_MMAP_THRESHOLD, _LARGEST_BYTES), (_M_ARENA_MAX, 1)):
        set_option(option, value)
    pa.set_memory_pool(pa.system_memory_pool())


def _end() -> None:
    """Let nothing be looked through; but DuckDB's bindings count what is theirs, and would tell of what was left."""
    if "duckdb" not in sys.modules:
        gc.freeze()


def _import_numpy() -> None:
    """Import NumPy without its threads for matrices, which nothing here multiplies: they begin by turning round.

    The commands that vio starts for its user have their own NumPy as they would without vio.
    """
    if _THREADS in os.environ:
        return
    os.environ[_THREADS] = "1"
    try:
        importlib.import_module("numpy")
    finally:
        del os.environ[_THREADS]
