"""CPU time of vio itself."""

import resource


def own_cpu_s() -> float:
    """Return the CPU seconds of this process so far, those of its threads included."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
