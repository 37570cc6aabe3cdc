"""Compiled loops over the records of guest requests: the life of each, its chain and its notification."""

import numpy as np
import numpy.typing as npt

from vio.reporter.compiled import Bools, Ints, Keys, compiled, grown, new_table, place_of

_NONE = -1
_OVER = -2  # in the table of pointers: pushed, or never taken
_ACCEPTED, _ENTERED, _ALONE = range(3)


@compiled
def match_lives(key: Keys, accept: Ints, is_io: Bools, enter: Ints, push: Ints) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Return begin, enter and push of each request, in order of begin, and whose each `enter` and each `push` is.

    In the records of one pointer, a life is accept, enter, push; a merged follower's is accept, push; a discard, which
    QEMU does not account, is enter, push. An entry of which neither is known is another caller's. Accepted requests
    that are not `is_io` are left out.
    """
    most = accept.size + enter.size
    begin, entered, pushed = np.empty(most, np.int64), np.full(most, _NONE, np.int64), np.full(most, _NONE, np.int64)
    is_life = np.zeros(most, np.bool_)
    enter_life, push_life = np.full(enter.size, _NONE, np.int64), np.full(push.size, _NONE, np.int64)
    keys, state = new_table()  # of each pointer: three times the life, and how far it is
    i = j = k = lives = count = 0
    while i < accept.size or j < enter.size or k < push.size:
        taken = accept[i] if i < accept.size else key.size
        into = enter[j] if j < enter.size else key.size
        back = push[k] if k < push.size else key.size
        event = min(taken, into, back)
        at = place_of(keys, state, keys.size - 1, key[event])
        last = state[at]
        if last == _NONE:
            keys[at] = key[event]
            count += 1
        if event == back:
            life = last // 3 if last >= 0 else _NONE
            if life >= 0:
                pushed[life] = event
                if last % 3 == _ALONE:
                    is_life[life] = True
            push_life[k] = life
            state[at] = _OVER
            k += 1
        elif event == into and last >= 0 and last % 3 == _ACCEPTED:
            entered[last // 3] = event
            enter_life[j] = last // 3
            state[at] = last - _ACCEPTED + _ENTERED
            j += 1
        else:
            begin[lives] = event
            if event == taken:
                is_life[lives] = is_io[i]
                state[at] = 3 * lives + _ACCEPTED
                i += 1
            else:
                entered[lives] = event
                enter_life[j] = lives
                state[at] = 3 * lives + _ALONE
                j += 1
            lives += 1
        if 2 * count >= keys.size:
            keys, state = grown(keys, state)
    number = np.cumsum(is_life) - 1
    for life in range(lives):
        if is_life[life]:
            at = number[life]
            begin[at], entered[at], pushed[at] = begin[life], entered[life], pushed[life]
    total = np.count_nonzero(is_life)
    enter_life, push_life = renumbered(enter_life, number, is_life), renumbered(push_life, number, is_life)
    return begin[:total], entered[:total], pushed[:total], enter_life, push_life


@compiled
def renumbered(life: Ints, number: Ints, is_life: Bools) -> Ints:
    """Return the new number of each, -1 for what is left out."""
    found = np.full(life.size, _NONE, np.int64)
    for i in range(life.size):
        if life[i] >= 0 and is_life[life[i]]:
            found[i] = number[life[i]]
    return found


@compiled
def find_heads(push: Ints, push_life: Ints, tid: npt.NDArray[np.int32], key: Keys, following: Ints, lives: int) -> Ints:
    """Follow mr_next (`following`): a push of what the push before it on its thread names belongs to its chain.

    Return the request that begins the chain of each; itself, where that is none.
    """
    head = np.arange(lives)
    first = np.empty(push.size, np.int64)  # push of its chain
    keys, latest = new_table()
    count = 0
    for j in range(push.size):
        event = push[j]
        thread = np.uint64(tid[event])
        at = place_of(keys, latest, keys.size - 1, thread)
        before = latest[at]
        if before == _NONE:
            keys[at] = thread
            count += 1
        first[j] = j
        if before >= 0 and following[push[before]] != 0 and np.uint64(following[push[before]]) == key[event]:
            first[j] = first[before]
        if push_life[j] >= 0 and push_life[first[j]] >= 0:
            head[push_life[j]] = push_life[first[j]]
        latest[at] = j
        if 2 * count >= keys.size:
            keys, latest = grown(keys, latest)
    return head


@compiled
def find_notifications(
    push: Ints, push_life: Ints, notify: Ints, queue: npt.NDArray[np.uint32], key: Keys, lives: int
) -> Ints:
    """Return for each request the first notification of its queue after its push, or -1."""
    found = np.full(lives, _NONE, np.int64)
    keys, first = new_table()
    count = 0
    j = notify.size - 1
    for i in range(push.size - 1, -1, -1):
        while j >= 0 and notify[j] >= push[i]:
            low = key[notify[j]] & np.uint64(0xFFFFFFFF)
            at = place_of(keys, first, keys.size - 1, low)
            if first[at] == _NONE:
                keys[at] = low
                count += 1
            first[at] = notify[j]
            if 2 * count >= keys.size:
                keys, first = grown(keys, first)
            j -= 1
        if push_life[i] >= 0:
            found[push_life[i]] = first[place_of(keys, first, keys.size - 1, np.uint64(queue[push[i]]))]
    return found


@compiled
def find_settled(
    push: Ints, push_life: Ints, tid: npt.NDArray[np.int32], following: Ints, notify: Ints, head: Ints, young: int
) -> Bools:
    """Tell which requests, with all of their chain, can have no later end than those that are known.

    Not settled are, of those pushed from the event `young` on, a thread's last if it names a next, and those without
    a notification (`notify`; empty where none are recorded).
    """
    is_open = np.zeros(head.size, np.bool_)
    keys, seen = new_table()
    count = 0
    for j in range(push.size - 1, -1, -1):
        life = push_life[j]
        if push[j] < young:
            break
        if life < 0:
            continue
        thread = np.uint64(tid[push[j]])
        at = place_of(keys, seen, keys.size - 1, thread)
        if seen[at] == _NONE:
            keys[at] = thread
            seen[at] = j
            count += 1
            is_open[head[life]] |= following[push[j]] != 0
            if 2 * count >= keys.size:
                keys, seen = grown(keys, seen)
        if notify.size:
            is_open[head[life]] |= notify[life] < 0
    return ~is_open[head]
