"""Events told as rows, for tests of the join."""

import numpy as np

from vio.reporter.events import Events

Row = tuple[str, int, int, int, int, int, int, int]
"""A point's name, flags, thread, space, bytes, offset, key and aux."""


def events_of(rows: list[Row], names: tuple[str, ...], first: int) -> Events:
    """Make events a microsecond apart, of which `first` came before; points are numbered as their names are."""
    point, flags, tid, space, size, offset, key, aux = zip(*rows, strict=True)
    number = [names.index(name) + 1 for name in point]
    return Events(
        (first + np.arange(len(rows), dtype=np.int64)) * 1000,
        np.array(number, dtype=np.uint8),
        np.array(flags, dtype=np.uint16),
        np.array(tid, dtype=np.int32),
        np.array(space, dtype=np.uint32),
        np.array(size, dtype=np.int64),
        np.array(offset, dtype=np.int64),
        np.array(key, dtype=np.uint64),
        np.array(aux, dtype=np.uint32),
    )
