"""How quick this machine's time stamp counter is, which an emulated processor hands on to its kernel."""

import ctypes
import mmap
import platform
import time
from collections.abc import Callable

_RDTSC = bytes.fromhex("0f31 48c1e220 4809d0 c3")  # rdtsc; shl rdx, 32; or rax, rdx; ret
_APART_S = 0.05
_TRIES = 20


def tsc_khz() -> int:
    """Measure the counter's frequency in kHz; 0 on a machine that has no such counter.

    A kernel that boots on a busy machine measures it against a timer that goes on while the kernel does not: it was
    seen to be wrong by a factor of 19, and so were all times of that kernel with it.
    """
    if platform.machine() != "x86_64":
        return 0
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(_RDTSC)
        place = (ctypes.c_char * len(_RDTSC)).from_buffer(page)
        read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(place))
        from_ns, from_ticks = _both(read)
        time.sleep(_APART_S)
        to_ns, to_ticks = _both(read)
        del place
    return round((to_ticks - from_ticks) * 1e6 / (to_ns - from_ns))


def _both(read: Callable[[], int]) -> tuple[int, int]:
    """Read clock and counter at the same time: of several tries, the one that took least."""
    best: tuple[int, int, int] | None = None
    for _ in range(_TRIES):
        before_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        ticks = read()
        after_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        if best is None or after_ns - before_ns < best[0]:
            best = (after_ns - before_ns, (before_ns + after_ns) // 2, ticks)
    assert best is not None
    return best[1], best[2]
