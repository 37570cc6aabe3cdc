"""How a process of vio's own is set up: that of a command, and those that it starts for a share of the work.

Not one in which vio is a library: how such a process holds its memory is for its owner to say.
"""

import ctypes
import gc

from vio.lessimports import do_without_pandas

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_KEPT_BYTES = 1 << 30
_LARGEST_BYTES = 1 << 25  # as much as every version takes
_OBJECTS = 50_000


def prepare() -> None:
    """Do what every command is quicker with."""
    do_without_pandas()
    # The arrays of a window are in no cycles: the collector's usual rounds, one for 700 objects, found nothing in them.
    gc.set_threshold(_OBJECTS)


def keep_memory() -> None:
    """Let each array have the memory of one before: given back, the kernel has to clear it and map it once more.

    That is half of a long report's time in the kernel. And a tenth of its memory, as the allocators of Arrow and of
    NumPy hold what is free each for itself. One arena, for those of threads are small. Of other C libraries than GNU's
    nothing is asked.
    """
    import pyarrow as pa

    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return
    for option, value in ((_M_TRIM_THRESHOLD, _KEPT_BYTES), (_M_MMAP_THRESHOLD, _LARGEST_BYTES), (_M_ARENA_MAX, 1)):
        set_option(option, value)
    pa.set_memory_pool(pa.system_memory_pool())
