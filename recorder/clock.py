"""The clocks of a recording."""

import time

from vio.manifest import Moment


def boottime_ns() -> int:
    """Return CLOCK_BOOTTIME, which bpftrace's nsecs is."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def moment() -> Moment:
    """Read both clocks, the wall clock in the middle of two readings of the other."""
    before_ns = boottime_ns()
    wall_ns = time.time_ns()
    return Moment((before_ns + boottime_ns()) // 2, wall_ns)
