"""How far a bench has come, and how long the rest will take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Counts runs: `place` and `left` are of the run that begins now."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._took_s: list[float] = []

    def place(self) -> str:
        """Say which run this is."""
        return f"run {self._done + 1} of {self._total}"

    def left(self) -> str:
        """Say how much time is left, by the mean of the recorded runs so far; nothing before the first has ended."""
        if not self._took_s:
            return ""
        mean_s = sum(self._took_s) / len(self._took_s)
        return f"; {time_text(mean_s * (self._total - self._done))} left"

    @contextmanager
    def timed(self, *, is_recorded: bool = True) -> Iterator[None]:
        """Time one run; recording takes longer than the load, so what is not recorded says nothing of the rest."""
        began_s = time.monotonic()
        yield
        self._done += 1
        if is_recorded:
            self._took_s.append(time.monotonic() - began_s)


def time_text(seconds: float) -> str:
    """Write a length of time as people say it: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
