"""Compiled loops that match events with keys: begins with ends, children with parents. See vio.reporter.match."""

import numpy as np

from vio.reporter.compiled import Bools, Ints, Keys, compiled, new_table, place_of, take_out

_NONE = -1
_FEW_OPEN = 1 << 10
_KNOWN = -2  # in a hash table: the key is one of those that are looked for, and has no event yet


@compiled
def pair_keys(begin: Ints, begin_key: Keys, end: Ints, end_key: Keys) -> tuple[Ints, Bools]:
    """Match begins with ends (match.pair)."""
    matched = np.full(begin.size, _NONE, np.int64)
    ambiguous = np.zeros(begin.size, np.bool_)
    hot = np.empty(begin.size, np.int64)  # begins that follow a begin with the same key
    hots = pair_in(min(_FEW_OPEN, begin.size), begin, begin_key, end, end_key, matched, hot)
    if hots < 0:
        matched[:] = _NONE
        hots = pair_in(begin.size, begin, begin_key, end, end_key, matched, hot)
    if hots:
        keys, number, count = numbered(begin_key, hot[:hots])
        begin_code, end_code = codes_in(keys, number, begin_key), codes_in(keys, number, end_key)
        pair_overlapping(begin, begin_code, end, end_code, count, matched, ambiguous)
    return matched, ambiguous


@compiled
def pair_in(most: int, begin: Ints, begin_key: Keys, end: Ints, end_key: Keys, matched: Ints, hot: Ints) -> int:
    """Match each begin with the next end of its key; -1 where more than `most` keys have begun and not ended at once.

    The hash table holds only those, so a small one mostly does, and stays in the processor's cache. Returns how many
    begins followed a begin with the same key (`hot`).
    """
    keys, latest = new_table(most)
    i = j = hots = opened = 0
    while i < begin.size or j < end.size:
        if j == end.size or (i < begin.size and begin[i] <= end[j]):
            at = place_of(keys, latest, keys.size - 1, begin_key[i])
            if latest[at] != _NONE:
                hot[hots] = i
                hots += 1
            elif opened == most:
                return -1
            else:
                keys[at] = begin_key[i]
                opened += 1
            latest[at] = i
            i += 1
        else:
            at = place_of(keys, latest, keys.size - 1, end_key[j])
            if latest[at] != _NONE:
                matched[latest[at]] = j
                take_out(keys, latest, at)
                opened -= 1
            j += 1
    return hots


@compiled
def numbered(values: Keys, which: Ints) -> tuple[Keys, Ints, int]:
    """Return a hash table of the chosen keys with a number for each, and how many there are."""
    keys, number = new_table(which.size)
    count = 0
    for one in which:
        at = place_of(keys, number, keys.size - 1, values[one])
        if number[at] == _NONE:
            keys[at] = values[one]
            number[at] = count
            count += 1
    return keys, number, count


@compiled
def codes_in(keys: Keys, number: Ints, values: Keys) -> Ints:
    """Return the number of each key in a hash table, -1 where it has none."""
    codes = np.empty(values.size, np.int64)
    for i in range(values.size):
        codes[i] = number[place_of(keys, number, keys.size - 1, values[i])]
    return codes


@compiled
def pair_overlapping(
    begin: Ints, begin_code: Ints, end: Ints, end_code: Ints, codes: int, matched: Ints, ambiguous: Bools
) -> None:
    """Redo what has a code, from 0 to `codes` - 1: first in, first out, over each stretch that is balanced.

    A stretch begins where as many have begun as ended. One that begins with an end is never balanced.
    """
    depth = np.zeros(codes, np.int64)
    first = np.full(codes, _NONE, np.int64)  # of the stretch
    last = np.full(codes, _NONE, np.int64)
    front = np.full(codes, _NONE, np.int64)  # the first without an end
    following = np.full(begin.size, _NONE, np.int64)  # in the stretch
    found = np.full(begin.size, _NONE, np.int64)
    i = j = 0
    while i < begin.size or j < end.size:
        if j == end.size or (i < begin.size and begin[i] <= end[j]):
            code = begin_code[i]
            if code >= 0:
                if depth[code] < 0:
                    ambiguous[i] = True
                elif depth[code] == 0:
                    first[code] = last[code] = front[code] = i
                else:
                    following[last[code]] = i
                    if front[code] == _NONE:
                        front[code] = i
                    last[code] = i
                depth[code] += 1
            i += 1
        else:
            code = end_code[j]
            if code >= 0:
                depth[code] -= 1
                if depth[code] >= 0:
                    found[front[code]] = j
                    front[code] = following[front[code]]
                if depth[code] == 0:
                    one = first[code]
                    while one != _NONE:
                        matched[one] = found[one]
                        one = following[one]
            j += 1
    for code in range(codes):
        if depth[code] > 0:
            one = first[code]
            while one != _NONE:
                ambiguous[one] = True
                one = following[one]


@compiled
def known(values: Keys) -> tuple[Keys, Ints]:
    """Return a hash table that knows these keys."""
    keys, latest = new_table(values.size)
    for value in values:
        at = place_of(keys, latest, keys.size - 1, value)
        if latest[at] == _NONE:
            keys[at] = value
            latest[at] = _KNOWN
    return keys, latest


@compiled
def latest_keyed(child: Ints, child_key: Keys, parent: Ints, parent_key: Keys) -> Ints:
    """Find the latest parent of each child (match.latest_before)."""
    found = np.empty(child.size, np.int64)
    keys, latest = known(child_key if child.size < parent.size else parent_key)
    j = 0
    for i in range(child.size):
        while j < parent.size and parent[j] <= child[i]:
            at = place_of(keys, latest, keys.size - 1, parent_key[j])
            if latest[at] != _NONE:
                latest[at] = j
            j += 1
        found[i] = max(latest[place_of(keys, latest, keys.size - 1, child_key[i])], _NONE)
    return found


@compiled
def first_keyed(child: Ints, child_key: Keys, later: Ints, later_key: Keys) -> Ints:
    """Find the first later event of each child (match.first_after)."""
    found = np.empty(child.size, np.int64)
    keys, first = known(child_key if child.size < later.size else later_key)
    j = later.size - 1
    for i in range(child.size - 1, -1, -1):
        while j >= 0 and later[j] >= child[i]:
            at = place_of(keys, first, keys.size - 1, later_key[j])
            if first[at] != _NONE:
                first[at] = j
            j -= 1
        found[i] = max(first[place_of(keys, first, keys.size - 1, child_key[i])], _NONE)
    return found


@compiled
def known_at(place: Keys, is_known: Bools) -> Ints:
    """Return for each place the position of the one before with the same, or -1; only where any of them `is_known`."""
    before = np.full(place.size, _NONE, np.int64)
    keys, latest = known(place[is_known])
    for i in range(place.size):
        at = place_of(keys, latest, keys.size - 1, place[i])
        if latest[at] != _NONE:
            before[i] = max(latest[at], _NONE)
            latest[at] = i
    return before
