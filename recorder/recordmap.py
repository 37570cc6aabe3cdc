"""Find the maps in which bpftrace keeps records, and read them in the program's order of words, whatever the map's."""

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from vio.recorder.bpfmap import U64, BpfMap, hash_maps, open_map
from vio.recorder.recordform import KEY_WORDS, WORDS, Layout, find_mark


class RecordMap:
    """A map of records with room for `entries`; it stays, with what is in it, while this is open."""

    def __init__(self, inner: BpfMap, layout: Layout, entries: int) -> None:
        self.entries = entries
        self._inner = inner
        self._layout = layout

    def close(self) -> None:
        """Let it go."""
        self._inner.close()

    def take(self) -> Iterator[tuple[U64, U64]]:
        """Take all records out; yield keys and words (`[record, word]`), which are the caller's.

        Raises:
            OSError: the kernel cannot do that.
        """
        for keys, values in self._inner.take():
            yield _picked(keys, self._layout.key), _picked(values, self._layout.value)


def find_record_map(process: Path, stream: str) -> RecordMap | None:
    """Find a stream's map among those that a process (its directory in /proc) holds, by its mark, which is removed.

    None if there is none yet, or none that vio can read for certain.
    """
    for shape in hash_maps(process):
        if shape.key_words < KEY_WORDS or shape.value_words < WORDS:
            continue
        with contextlib.suppress(OSError), ExitStack() as stack:
            inner = open_map(shape)
            stack.callback(inner.close)
            layout = _take_mark(inner, stream)
            if layout:
                stack.pop_all()
                return RecordMap(inner, layout, shape.entries)
    return None


def _take_mark(inner: BpfMap, stream: str) -> Layout | None:
    for keys, values in inner.look():
        found = find_mark(keys, values, stream)
        if found:
            inner.remove(keys[found[0]])
            return found[1]
    return None


def _picked(entries: U64, places: tuple[int, ...]) -> U64:
    # much the quicker, and what all versions of bpftrace need so far
    if places == tuple(range(entries.shape[1])):
        return entries.copy()
    return entries[:, places]
