"""QEMU's block layer calls as frames on coroutine stacks: begin, end, and the call around each.

A coroutine has a stack of its own, so calls with near stack pointers are calls inside each other, whatever thread runs
them and however often they yield. Only the low half of each pointer is recorded.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vio.reporter.events import Window
from vio.reporter.match import NONE, Ints, codes_of, pair, picked, stable_order
from vio.reporter.nest import assume_ends, enclose

_FRAME_LIMIT = 4096  # a request structure lies within the frame of the call that begins it
_SAMPLE = 1 << 16  # events to learn from
_STACK_GAP = 1 << 18  # QEMU's coroutine stacks are 1 MiB each and used near their tops

_DATA_CALLS = ("bdrv_read", "bdrv_write", "bdrv_discard")
_SUBMITS = ("laio", "luring", "pool")


@dataclass(frozen=True, slots=True)
class Frames:
    """Calls of nodes (`call`) and hand-overs to the kernel or a worker (`submit`), as event indices.

    `call_end` is the event that ended the call, or -1. `call_parent` and `submit_parent` are positions in `call` of the
    call around, or -1.
    """

    call: Ints
    call_end: Ints
    call_parent: Ints
    submit: Ints
    submit_parent: Ints


class FrameReader:
    """Find the frames in windows; remembers what it has learned of this QEMU's build from window to window."""

    def __init__(self) -> None:
        self._distance: dict[str, int] = {}

    def read(self, window: Window) -> Frames:
        """Return the frames in a window."""
        ev = window.events
        self._learn(window)
        call = window.at(*_DATA_CALLS, "bdrv_flush")
        call_end = np.full(call.size, NONE, dtype=np.int64)
        data_end, flush_end = window.at("bdrv_end"), window.at("bdrv_flush_end")
        self._fill_ends(window, call, call_end, _DATA_CALLS, data_end, _low(ev.key[data_end]))
        self._fill_ends(window, call, call_end, ("bdrv_flush",), flush_end, ev.aux[flush_end])
        submit = window.at(*_SUBMITS)
        parent = _enclosing(window, call, call_end, submit)
        return Frames(call, call_end, parent[: call.size], submit, parent[call.size :])

    def _fill_ends(
        self,
        window: Window,
        call: Ints,
        call_end: Ints,
        names: tuple[str, ...],
        end: Ints,
        end_at: npt.NDArray[np.uint32],
    ) -> None:
        """Find the ends of some functions' calls: their pointers are as far from the begins' as was learned."""
        distance = np.zeros(256, dtype=np.uint32)
        known = [name for name in names if name in self._distance]
        for name in known:
            distance[window.number(name)] = self._distance[name]
        which = np.flatnonzero(window.is_at(call, *known))
        begin = call[which]
        end_of = window.events.aux[begin] - distance[window.events.point[begin]]  # where its end will be
        pairs = pair(begin, end_of.astype(np.uint64), end, end_at.astype(np.uint64))
        call_end[which] = picked(end, pairs.end)

    def _learn(self, window: Window) -> None:
        """Learn how far the ends' pointers are from the begins': a constant of each function in this build.

        An end that directly follows a begin on the same stack is the end of that call.
        """
        ev = window.events
        unknown = [name for name in (*_DATA_CALLS, "bdrv_flush") if name not in self._distance and window.at(name).size]
        if not unknown:
            return
        index = window.at(*_DATA_CALLS, "bdrv_flush", "bdrv_end", "bdrv_flush_end")[:_SAMPLE]
        pointer = np.where(window.is_at(index, "bdrv_end"), _low(ev.key[index]), ev.aux[index])
        order = stable_order(_stacks(pointer))
        index, pointer = index[order], pointer[order].astype(np.int64)
        gap = pointer[:-1] - pointer[1:]
        for name in unknown:
            end = "bdrv_flush_end" if name == "bdrv_flush" else "bdrv_end"
            is_begin = window.is_at(index[:-1], name) & (gap > 0) & (gap < _FRAME_LIMIT)
            pairs = is_begin & window.is_at(index[1:], end)
            if not pairs.any() and name == "bdrv_flush":
                # A node flushes the one below it, and then ends, by calls out of one frame.
                pairs = is_begin & window.is_at(index[1:], name)
            if pairs.any():
                self._distance[name] = int(np.argmax(np.bincount(gap[pairs])))


def _low(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)


def _enclosing(window: Window, call: Ints, call_end: Ints, submit: Ints) -> Ints:
    """Return for each call, then for each submit, the position in `call` of the call around it, or -1."""
    ev = window.events
    stack = _stacks(ev.aux[np.concatenate([call, submit])])
    stacks = int(stack.max(initial=-1)) + 1
    end = assume_ends(call, call_end, stack[: call.size], ev.aux[call], ev.space[call], stacks, len(ev))
    return enclose(call, end, submit, stack, stacks, len(ev))


def _stacks(pointers: npt.NDArray[np.uint32]) -> Ints:
    """Number the stacks that the pointers lie in."""
    codes = codes_of(pointers.astype(np.uint64))
    values = np.empty(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    values[codes] = pointers
    order = np.argsort(values, kind="stable")
    jumps = np.diff(values[order]) > _STACK_GAP
    number = np.empty(values.size, dtype=np.int64)
    number[order] = np.concatenate([[0], np.cumsum(jumps)]) if values.size else []
    return number[codes]
