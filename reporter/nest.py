"""Compiled loops over frames: which call is around which, on stacks of which only the pointers are known."""

import numpy as np
import numpy.typing as npt

from vio.reporter.compiled import Bools, Ints, Keys, compiled, grown, new_table, place_of

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


@compiled
def root_of_calls(parent: Ints) -> Ints:
    """Return the outermost call around each; the call around one comes before it."""
    top = np.arange(parent.size)
    for i in range(parent.size):
        if 0 <= parent[i] < i:
            top[i] = top[parent[i]]
    return top


@compiled
def find_served(
    call: Ints, end: Ints, parent: Ints, shared: Keys, node: npt.NDArray[np.uint32], is_alone: Bools, far: int
) -> Ints:
    """Return for each call the root call that it serves: itself, or the first that overlaps with it and has its qiov.

    `shared` are the calls' qiovs (0: none), `is_alone` tells which serve no other; a call of the same node is none to
    serve either.
    """
    serves = np.arange(call.size)
    keys, first = new_table()
    open_until = np.empty(call.size, np.int64)  # of the group, by its first call of all
    group = np.empty(call.size, np.int64)  # likewise the first of its last stretch
    count = 0
    for i in range(call.size):
        if parent[i] >= 0 or shared[i] == 0:
            continue
        at = place_of(keys, first, keys.size - 1, shared[i])
        until = end[i] if end[i] >= 0 else far
        if first[at] == _NONE:
            keys[at] = shared[i]
            first[at] = i
            count += 1
            group[i], open_until[i] = i, until
            if 2 * count >= keys.size:
                keys, first = grown(keys, first)
            continue
        one = first[at]
        if is_alone[i] or open_until[one] <= call[i]:
            group[one] = i
        elif node[i] != node[group[one]]:
            serves[i] = group[one]
        open_until[one] = max(open_until[one], until)
    return serves
