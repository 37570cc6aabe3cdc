"""CPU time: of vio itself, and how much a counter of CPU time grows."""

import resource
from collections.abc import Callable
from dataclasses import dataclass


def own_cpu_s() -> float:
    """Return the CPU seconds of this process so far, those of its threads included."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@dataclass(slots=True)
class Growth:
    """How much a number that only grows has grown from `begin` to `end`; `by` is None if either could not be read."""

    read: Callable[[], float]
    by: float | None = None
    _began: float | None = None

    def begin(self) -> None:
        """Read it for the first time."""
        self._began = self._now()

    def end(self) -> None:
        """Read it again."""
        now = self._now()
        self.by = None if now is None or self._began is None else now - self._began

    def _now(self) -> float | None:
        try:
            return self.read()
        except (OSError, ValueError):
            return None
