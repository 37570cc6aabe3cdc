"""Compiled loops over frames: which call is around which, on stacks of which only the pointers are known."""

import numpy as np
import numpy.typing as npt

from vio.reporter.compiled import Ints, compiled

_NONE = -1
_MOST_INSIDE = 256  # calls inside one call that are looked at


@compiled
def assume_ends(
    call: Ints,
    call_end: Ints,
    stack: Ints,
    pointer: npt.NDArray[np.uint32],
    node: npt.NDArray[np.uint32],
    stacks: int,
    far: int,
) -> Ints:
    """Give a call without end one: the next call that cannot be inside it, else `far`; others keep theirs.

    That is a call at or above it on its stack, or one of the same node. `stack` is from 0 to `stacks` - 1.
    """
    following = np.empty(call.size, np.int64)  # on the same stack
    latest = np.full(stacks, _NONE, np.int64)
    for i in range(call.size - 1, -1, -1):
        following[i] = latest[stack[i]]
        latest[stack[i]] = i
    end = call_end.copy()
    for i in range(call.size):
        if end[i] < 0:
            end[i] = far
            other = following[i]
            for _ in range(_MOST_INSIDE):
                if other == _NONE:
                    break
                if pointer[other] >= pointer[i] or node[other] == node[i]:
                    end[i] = call[other]
                    break
                other = following[other]
    return end


@compiled
def enclose(call: Ints, end: Ints, submit: Ints, stack: Ints, stacks: int, events: int) -> Ints:
    """Return for each call, then for each submit, the position of the call around it, or -1.

    That is, where the depth of its stack is n, the latest call that began there at depth n - 1. `call` and `submit` are
    event indices in ascending order, `end` is from 0 to `events`; an end comes before a begin of the same index.
    """
    depth = np.zeros(stacks, np.int64)
    base = np.zeros(stacks + 1, np.int64)  # where the openers of a stack are; it is never deeper than it has calls
    ending = np.full(events + 1, _NONE, np.int64)  # the calls that end at each event, the first of a chain
    other = np.empty(call.size, np.int64)  # that ends at the same event
    for i in range(call.size):
        base[stack[i] + 1] += 1
        other[i] = ending[end[i]]
        ending[end[i]] = i
    for number in range(stacks):
        base[number + 1] += base[number]
    opener = np.empty(call.size, np.int64)
    parent = np.full(call.size + submit.size, _NONE, np.int64)
    i = j = at = 0
    while i < call.size or j < submit.size:
        is_call = j == submit.size or (i < call.size and call[i] <= submit[j])
        here = call[i] if is_call else submit[j]
        while at <= here and at <= events:
            one = ending[at]
            while one != _NONE:
                depth[stack[one]] -= 1
                one = other[one]
            at += 1
        item = i if is_call else call.size + j
        on = stack[item]
        level = max(depth[on], 0)
        if level > 0:
            parent[item] = opener[base[on] + level - 1]
        if is_call:
            opener[base[on] + level] = i
            depth[on] = level + 1
            i += 1
        else:
            j += 1
    return parent
