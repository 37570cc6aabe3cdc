"""Compiled loops over the calls of QEMU's block layer: which of those on an image's file carry the guest's own data.

A read or write of the guest is taken where its calls tell its place: one call with the guest's own buffer, or several
that are all there is, or (writes) one with another buffer that has the request's bytes within the rest of a cluster.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vio.reporter.compiled import Bools, Ints, Keys, compiled

_NONE = -1
_NOTHING, _OTHER, _OWN = 0, 1, 2  # what a call carries of the guest's data: in another buffer, in its own
_ZERO_WRITE = 2  # BDRV_REQ_ZERO_WRITE


class Weights(NamedTuple):
    """Of each call on the file its length, place, what it carries, and the guest's address if it fits around.

    Of each IO, tables apart: its calls, those with its own buffer and their bytes, those that fit around it; and what
    was asked for: bytes and the guest's address.
    """

    length: Ints
    place: Ints
    carries: Ints
    guest: Ints
    every: Ints
    own: Ints
    own_bytes: Ints
    around: Ints
    asked: Ints
    start: Ints


class Told(NamedTuple):
    """Places: guest address, bytes, address in the file, and the events between which it was looked up or decided.

    `has_call` tells the IOs with calls on the file, tables apart. The last three count IOs: cut into pieces that cannot
    be told apart, without an end, and in another buffer.
    """

    guest: Ints
    bytes: Ints
    offset: Ints
    first: Ints
    last: Ints
    has_call: Bools
    in_pieces: int
    no_end: int
    other_buffer: int


@compiled
def calls_on_file(
    submit: Ints,
    submit_parent: Ints,
    space: npt.NDArray[np.uint32],
    descriptors: Ints,
    call_io: Ints,
    io_root: Ints,
    is_done: Bools,
) -> Ints:
    """Return the calls (positions) that were handed over to some descriptors for IOs that are done.

    `space` is that of all events.
    """
    is_wanted = np.zeros(call_io.size, np.bool_)
    for i in range(submit.size):
        if submit_parent[i] >= 0:
            for one in descriptors:
                if space[submit[i]] == one:
                    is_wanted[submit_parent[i]] = True
    found = np.empty(call_io.size, np.int64)
    count = 0
    for c in range(call_io.size):
        if is_wanted[c] and call_io[c] >= 0 and is_done[call_io[c]] and io_root[call_io[c]] >= 0:
            found[count] = c
            count += 1
    return found[:count]


@compiled
def weigh_calls(
    call: Ints,
    io_of: Ints,
    top: Ints,
    ios: int,
    point: npt.NDArray[np.uint8],
    flags: npt.NDArray[np.uint16],
    size: Ints,
    offset: Ints,
    key: Keys,
    read: int,
    write: int,
    cluster: int,
    table_start: Ints,
    table_end: Ints,
) -> Weights:
    """Weigh calls (events) on the file, for the IOs `io_of`, whose calls at the guest's address are events `top`."""
    length, place, guest = np.empty(call.size, np.int64), np.empty(call.size, np.int64), np.full(call.size, _NONE)
    carries = np.full(call.size, _NOTHING)
    every, own, own_bytes = np.zeros(ios, np.int64), np.zeros(ios, np.int64), np.zeros(ios, np.int64)
    around, asked, start = np.zeros(ios, np.int64), np.zeros(ios, np.int64), np.zeros(ios, np.int64)
    for i in range(call.size):
        at, above, io = call[i], top[i], io_of[i]
        length[i], place[i] = size[at], offset[at]
        table = np.searchsorted(table_start, place[i], side="right") - 1
        if table >= 0 and place[i] < table_end[table]:
            continue
        if every[io] == 0:
            asked[io], start[io] = size[above], offset[above]
        every[io] += 1
        if point[at] != point[above] or not (point[at] == read or point[at] == write):
            continue
        if point[at] == write and ((flags[at] | flags[above]) & _ZERO_WRITE) != 0:
            continue
        if key[at] == key[above]:
            carries[i] = _OWN
            own[io] += 1
            own_bytes[io] += length[i]
            continue
        carries[i] = _OTHER
        begin = start[io] // cluster * cluster + place[i] % cluster if cluster > 0 else start[io] + 1
        if point[at] == write and begin <= start[io] and begin + length[i] >= start[io] + asked[io]:
            guest[i] = begin
            around[io] += 1
    return Weights(length, place, carries, guest, every, own, own_bytes, around, asked, start)


@compiled
def tell_places(
    weights: Weights, io_of: Ints, call: Ints, call_end: Ints, top: Ints, top_end: Ints, is_write: Bools
) -> Told:
    """Tell where the guest's data went by weighed calls; `call` and `top` are events, with their ends (-1: not seen).

    A read looked its place up before its call; a write's is certain between the end of its call and its own.
    """
    length, place, carries, guest, every, own, own_bytes, around, asked, start = weights
    first, last = np.empty(call.size, np.int64), np.empty(call.size, np.int64)
    is_counted = np.zeros(every.size, np.bool_)
    count = in_pieces = no_end = other_buffer = 0
    for i in range(call.size):
        io = io_of[i]
        is_own = carries[i] == _OWN
        if carries[i] == _NOTHING or is_counted[io]:
            continue
        if is_own and own_bytes[io] == asked[io] and (own[io] == 1 or own[io] == every[io]):
            guest[i] = start[io]
            start[io] += length[i]  # of the next piece
        elif own[io] > 0 or around[io] != 1:
            if is_own or own[io] == 0:
                is_counted[io] = True
                in_pieces += is_own
                other_buffer += not is_own
            continue
        elif guest[i] == _NONE:
            continue
        if is_write[i] and (call_end[i] < 0 or top_end[i] < 0):
            is_counted[io] = True
            no_end += 1
            continue
        guest[count], length[count], place[count] = guest[i], length[i], place[i]
        last[count] = top_end[i] if is_write[i] else call[i]
        first[count] = min(call_end[i] if is_write[i] else top[i], last[count])
        count += 1
    columns = (guest[:count], length[:count], place[:count], first[:count], last[:count])
    return Told(*columns, every > 0, in_pieces, no_end, other_buffer)


@compiled
def calls_that_unmap(
    call: Ints,
    call_end: Ints,
    call_parent: Ints,
    call_io: Ints,
    is_mine: Bools,
    io_space: Ints,
    has_call: Bools,
    point: npt.NDArray[np.uint8],
    flags: npt.NDArray[np.uint16],
    space: npt.NDArray[np.uint32],
    write: int,
    discard: int,
) -> Ints:
    """Return the guest's calls (positions) by which it may lose a place: discards, zeroes, writes without a call below.

    Of the guest's own node: what qcow2 does beside it, in coroutines of their own, is at addresses of the file. A
    discard that QEMU was told to ignore has no end. A write without a call on the file has been made zeroes of
    (detect-zeroes), unless no IO has one, and QEMU's way to the file was not observed.
    """
    is_observed = has_call.any()
    found = np.empty(call.size, np.int64)
    count = 0
    for c in range(call.size):
        at, io = call[c], call_io[c]
        if call_parent[c] >= 0 or io < 0 or not is_mine[io]:
            continue
        if point[at] == discard:
            is_it = call_end[c] >= 0
        elif point[at] == write:
            is_it = (is_observed and call_end[c] >= 0 and not has_call[io]) or (flags[at] & _ZERO_WRITE) != 0
        else:
            continue
        if is_it and space[at] == io_space[io]:
            found[count] = c
            count += 1
    return found[:count]
