"""Compiled loops over places: bytes on devices and in files, each made one number."""

import numpy as np
import numpy.typing as npt

from vio.reporter.compiled import Bools, Ints, Keys, compiled
from vio.reporter.pairing import known_at

Words16 = npt.NDArray[np.uint16]
Words32 = npt.NDArray[np.uint32]

OP_FLUSH = 3
_NONE = -1
_FAILED = 1  # flags of dio_end
_LOW20, _LOW43 = np.uint64(0xFFFFF), np.uint64((1 << 43) - 1)
_ODD = np.uint64(0x9E3779B97F4A7C15)


@compiled
def sector_key(device: np.int64, offset: np.int64) -> np.uint64:
    """Make one number of a device and a byte address; exact to 4 PiB and 2^21 devices."""
    number = (np.uint64(device) >> np.uint64(20) << np.uint64(8)) ^ (np.uint64(device) & _LOW20)
    return (number << np.uint64(43)) | (np.uint64(offset) >> np.uint64(9) & _LOW43)


@compiled
def place_key(device: Ints, offset: Ints) -> Keys:
    """Make one number of each device and byte address."""
    keys = np.empty(device.size, np.uint64)
    for i in range(device.size):
        keys[i] = sector_key(device[i], offset[i])
    return keys


@compiled
def flush_or_place(space: Words32, offset: Ints, flags: Words16, length: Ints, at: Ints) -> Keys:
    """Make one number of where each request is; flushes, which have no address, are all in one place of the device."""
    keys = np.empty(at.size, np.uint64)
    for i in range(at.size):
        event = at[i]
        keys[i] = sector_key(np.int64(space[event]), offset[event])
        if flags[event] == OP_FLUSH and length[event] == 0:
            keys[i] |= _LOW43
    return keys


@compiled
def in_parts(issue: Ints, complete: Ints, offset: Ints, length: Ints) -> Ints:
    """Return which requests (positions) have a completion that is not up to their end."""
    found = np.empty(issue.size, np.int64)
    count = 0
    for i in range(issue.size):
        end = complete[i]
        if end >= 0 and length[end] > 0 and offset[end] + length[end] < offset[issue[i]] + length[issue[i]]:
            found[count] = i
            count += 1
    return found[:count]


@compiled
def file_key(device: int, inode: int, offset: int) -> np.uint64:
    """Make one number of a file and a place in it."""
    return (np.uint64(inode) ^ (np.uint64(device) << np.uint64(24))) * _ODD ^ np.uint64(offset)


@compiled
def work_begins(space: Words32, inode: Keys, offset: Ints, at: Ints) -> Keys:
    """Make one number of where each direct IO begins."""
    keys = np.empty(at.size, np.uint64)
    for i in range(at.size):
        keys[i] = file_key(space[at[i]], inode[at[i]], offset[at[i]])
    return keys


@compiled
def work_ends(space: Words32, inode: Keys, offset: Ints, length: Ints, flags: Words16, at: Ints) -> Keys:
    """Make one number of where each direct IO that ends has begun: its end says where it is, unless it has failed."""
    keys = np.empty(at.size, np.uint64)
    for i in range(at.size):
        done = 0 if flags[at[i]] == _FAILED else length[at[i]]
        keys[i] = file_key(space[at[i]], inode[at[i]], offset[at[i]] - done)
    return keys


@compiled
def find_attempts(place: Keys, begin: Ints, end: Ints, flags: Words16) -> tuple[Ints, Bools]:
    """Return which earlier direct IO each repeats because that had failed, and which were given up without an end."""
    retried = np.full(begin.size, _NONE, np.int64)
    is_given_up = np.zeros(begin.size, np.bool_)
    is_odd = np.empty(begin.size, np.bool_)
    for i in range(begin.size):
        is_odd[i] = end[i] < 0 or flags[end[i]] == _FAILED
    before = known_at(place, is_odd)
    for i in range(begin.size):
        one = before[i]
        if one >= 0 and end[one] < 0:
            is_given_up[one] = True
        elif one >= 0 and flags[end[one]] == _FAILED and end[one] < begin[i]:
            retried[i] = one
    return retried, is_given_up


@compiled
def which_file(space: Words32, inode: Keys, at: Ints, devices: Ints, inodes: Keys) -> Ints:
    """Return for each event which of the files it is on, or -1."""
    found = np.full(at.size, _NONE, np.int64)
    for i in range(at.size):
        for number in range(devices.size):
            if space[at[i]] == devices[number] and inode[at[i]] == inodes[number]:
                found[i] = number
    return found


@compiled
def on_thread(tid: npt.NDArray[np.int32], offset: Ints, at: Ints, file: Ints) -> Keys:
    """Make one number of the thread, the address and the file (one for each of `at`) of each event."""
    keys = np.empty(at.size, np.uint64)
    for i in range(at.size):
        place = (np.uint64(tid[at[i]]) << np.uint64(42)) ^ (np.uint64(offset[at[i]]) >> np.uint64(9))
        keys[i] = place ^ np.uint64(file[i]) * _ODD
    return keys
