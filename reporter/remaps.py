"""Follow bios through remaps: one compiled loop over those queued, cut and remapped in a window, in order of time."""

import numpy as np

from vio.reporter.compiled import Bools, Ints, compiled

QUEUED, CUT, REMAPPED = 0, 1, 2
_NONE = -1
_AT_ONCE = 64  # bios of one place that are looked at


@compiled
def follow(
    kind: Ints, thread: Ints, place: Ints, source: Ints, lane: Ints, begin: Ints, size: Ints, is_own: Bools
) -> tuple[Ints, Ints]:
    """Return for each event the one that it was made from, and for each remap the bio that was queued next for it.

    All are by position. `thread`, `place`, `source` and `lane` are numbers of threads, of places, of the places that
    remaps start from, and of thread and mapped device together; `begin` is the sector on the mapped device, `size` in
    sectors. A remap that `is_own` stays within one device number: a partition's.
    """
    count = kind.size
    upper, child = np.full(count, _NONE, np.int64), np.full(count, _NONE, np.int64)
    if not count:
        return upper, child
    is_passed = np.zeros(count, np.bool_)  # remaps that another goes on from
    has_lower = np.zeros(count, np.bool_)
    places = 1 + max(place.max(), source.max())
    latest = np.full(places, _NONE, np.int64)  # bio at a place
    earlier = np.full(count, _NONE, np.int64)  # the one before it there
    first = np.full(places, _NONE, np.int64)  # remap to a place that waits for its bio
    following = np.full(count, _NONE, np.int64)  # the next that waits there
    final = np.full(places, _NONE, np.int64)  # the last that waits there
    on_thread = np.full(1 + thread.max(), _NONE, np.int64)
    on_lane = np.full(1 + lane.max(), _NONE, np.int64)
    for i in range(count):
        if kind[i] != REMAPPED:
            if kind[i] == QUEUED:
                remap = _oldest(first, following, is_passed, place[i])
                if remap >= 0:
                    child[remap] = i
                    upper[i] = upper[remap]
            earlier[i] = latest[place[i]]
            latest[place[i]] = i
        else:
            before, last = on_thread[thread[i]], on_lane[lane[i]]
            if before >= 0 and kind[before] == REMAPPED and place[before] == source[i] and child[before] < 0:
                is_passed[before] = True
                upper[i] = upper[before]
            elif not is_own[i] and latest[source[i]] >= 0:
                upper[i] = _first_free(latest[source[i]], earlier, has_lower)
            elif not is_own[i] and last >= 0 and child[last] >= 0 and begin[last] + size[child[last]] == begin[i]:
                upper[i] = upper[last]  # md cuts without saying so: this piece begins where the last one ended
            if upper[i] >= 0:
                has_lower[upper[i]] = True
            on_lane[lane[i]] = i
            if first[place[i]] < 0:
                first[place[i]] = i
            else:
                following[final[place[i]]] = i
            final[place[i]] = i
        on_thread[thread[i]] = i
    return upper, child


@compiled
def _first_free(bio: int, earlier: Ints, has_lower: Bools) -> int:
    """Return of several bios of one place that have not gone on the first; else the latest."""
    for _ in range(_AT_ONCE):
        if has_lower[bio] or earlier[bio] < 0 or has_lower[earlier[bio]]:
            break
        bio = earlier[bio]
    return bio


@compiled
def _oldest(first: Ints, following: Ints, is_passed: Bools, place: int) -> int:
    """Take the remap that has waited longest at a place, -1 if none does."""
    remap = first[place]
    while remap >= 0 and is_passed[remap]:
        remap = following[remap]
    first[place] = following[remap] if remap >= 0 else _NONE
    return int(remap)
