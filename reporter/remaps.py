"""Follow bios through remaps: one compiled loop over those queued, cut and remapped in a window, in order of time."""

import numpy as np

from vio.reporter.compiled import Bools, Ints, compiled

QUEUED, CUT, REMAPPED = 0, 1, 2
_NONE = -1
_AT_ONCE = 64  # bios of one place that are looked at


@compiled
def _nones(count: int) -> Ints:
    return np.full(count, _NONE, np.int64)


@compiled
def follow(
    kind: Ints, thread: Ints, place: Ints, source: Ints, origin: Ints, lane: Ints, begin: Ints, size: Ints, own: Bools
) -> tuple[Ints, Ints, Bools]:
    """Return for each event the one that it was made from, and for each remap the bio that was queued next for it.

    The last tells the remaps from which another went on at once: a partition's, on the way from a mapped device.

    All are by position. `thread`, `place`, `source` and `lane` are numbers of threads, of places, of the places that
    remaps start from, and of thread and mapped device together. `origin` is the number of the place above by a mapped
    device's table, or -1: for what the kernel remaps without a word. `begin` is the sector on the mapped device, `size`
    in sectors. A remap that is its `own` stays within one device number: a partition's.
    """
    count = kind.size
    upper, child, passed_from = _nones(count), _nones(count), _nones(count)
    is_passed, has_lower = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    if not count:
        return upper, child, is_passed
    places = 1 + max(place.max(), source.max(), origin.max())
    latest, earlier = _nones(places), _nones(count)  # the bio at a place, and the one before it there
    first, following, final = _nones(places), _nones(count), _nones(places)  # remaps to a place that wait for bios
    on_thread, on_lane = _nones(1 + thread.max()), _nones(1 + lane.max())
    for i in range(count):
        before, last = on_thread[thread[i]], on_lane[lane[i]]
        on_thread[thread[i]] = i
        if kind[i] == QUEUED:
            remap = _oldest(first, following, is_passed, place[i])
            if remap >= 0:
                child[remap] = i
                upper[i] = upper[remap]
            else:
                upper[i] = _above(_NONE, origin[i], latest, earlier, has_lower)
        elif kind[i] == REMAPPED:
            if before >= 0 and kind[before] == REMAPPED and place[before] == source[i] and child[before] < 0:
                is_passed[before] = True
                passed_from[i] = before
                upper[i] = upper[before]
            else:
                upper[i] = _above(_NONE if own[i] else source[i], origin[i], latest, earlier, has_lower)
                # md cuts without saying so: a piece begins where the last one ended
                if upper[i] < 0 and last >= 0 and child[last] >= 0 and begin[last] + size[child[last]] == begin[i]:
                    upper[i] = upper[last]
            on_lane[lane[i]] = i
            _wait(first, following, final, place[i], i)
        # a flush before a write is not the write
        if upper[i] >= 0 and (kind[i] == REMAPPED or size[i] > 0):
            has_lower[upper[i]] = True
        if kind[i] != REMAPPED:
            earlier[i] = latest[place[i]]
            latest[place[i]] = i
    for i in range(count - 1, -1, -1):
        if passed_from[i] >= 0:
            child[passed_from[i]] = child[i]
    return upper, child, is_passed


@compiled
def _above(source: int, origin: int, latest: Ints, earlier: Ints, has_lower: Bools) -> int:
    """Return the bio at a place that a remap names, or else the one that waits at the place that the table names."""
    if source >= 0 and latest[source] >= 0:
        return _first_free(latest[source], earlier, has_lower)
    if origin >= 0 and latest[origin] >= 0:
        found = _first_free(latest[origin], earlier, has_lower)
        return found if not has_lower[found] else _NONE
    return _NONE


@compiled
def _first_free(bio: int, earlier: Ints, has_lower: Bools) -> int:
    """Return of several bios of one place that have not gone on the first; else the latest."""
    for _ in range(_AT_ONCE):
        if has_lower[bio] or earlier[bio] < 0 or has_lower[earlier[bio]]:
            break
        bio = earlier[bio]
    return bio


@compiled
def _wait(first: Ints, following: Ints, final: Ints, place: int, remap: int) -> None:
    """Put a remap behind those that wait at a place."""
    if first[place] < 0:
        first[place] = remap
    else:
        following[final[place]] = remap
    final[place] = remap


@compiled
def _oldest(first: Ints, following: Ints, is_passed: Bools, place: int) -> int:
    """Take the remap that has waited longest at a place, -1 if none does."""
    remap = first[place]
    while remap >= 0 and is_passed[remap]:
        remap = following[remap]
    first[place] = following[remap] if remap >= 0 else _NONE
    return int(remap)
