"""What drivers say of requests, as parts of `device`: the wait in the driver, the device itself, and the way back.

A driver's command is tied to its request by the thread, on which one follows the other at once, and its end to it by
the tag of the command. virtio_blk says only when a request is in its queue, in order on each thread, and when it takes
an interrupt.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vio.layer import Stage
from vio.manifest import DeviceInfo, PointInfo
from vio.reporter.block import COMMANDS
from vio.reporter.events import Window
from vio.reporter.join import Joined
from vio.reporter.match import NONE, Ints, Keys, first_after, latest_before, pair, picked
from vio.reporter.steps import StepRows

_DEVICE = [number for number, stage in enumerate(Stage) if stage in (Stage.DEVICE, Stage.LOOP_DEVICE)]


@dataclass(frozen=True, slots=True)
class _Driver:
    """A driver: how its devices are called, its points, and whether it makes its command before the request begins."""

    name: str
    prefix: str
    command: str
    end: str
    is_first: bool = False
    has_tags: bool = True


_DRIVERS = (
    _Driver("nvme", "nvme", "nvme_command", "nvme_command_end", is_first=True),
    _Driver("scsi", "sd", "scsi_command", "scsi_command_end"),
    _Driver("virtio_blk", "vd", "virtio_command", "virtio_command_end", has_tags=False),
)


def has_drivers(points: Iterable[PointInfo]) -> bool:
    """Tell whether any driver was looked at."""
    return any(point.name in COMMANDS for point in points)


class DriverReader:
    """Reads what drivers said of each window's requests."""

    def __init__(self, devices: Sequence[DeviceInfo]) -> None:
        self._devices = {
            driver.name: [one.kernel_dev for one in devices if one.name.startswith(driver.prefix)]
            for driver in _DRIVERS
        }

    def read(self, joined: Joined) -> StepRows:
        """Return the parts of `device` in the IOs that are done in this window."""
        spans, ev = joined.spans, joined.window.events
        is_mine = np.isin(spans.stage, _DEVICE) & joined.is_done[spans.owner] & (spans.end >= 0)
        found = [StepRows.empty()]
        for driver in _DRIVERS:
            is_its = np.isin(ev.space[spans.begin], np.array(self._devices[driver.name], dtype=np.int64))
            which = np.flatnonzero(is_mine & is_its)
            if which.size and joined.window.observes(driver.command):
                found.append(_rows(joined, driver, which, self._devices[driver.name]))
        return StepRows.joined(found)


def _rows(joined: Joined, driver: _Driver, which: Ints, devices: Sequence[int]) -> StepRows:
    spans, ev = joined.spans, joined.window.events
    owner, stage, begin, end = (column[which] for column in (spans.owner, spans.stage, spans.begin, spans.end))
    issue, of = np.unique(begin, return_inverse=True)
    find = _commands if driver.has_tags else _in_turn
    sent = find(joined.window, driver, issue, devices)[of]
    answered = _answers(joined.window, driver, sent, end)
    parts = (
        ("queueing", begin, sent, (sent > begin)),
        ("device", np.maximum(begin, sent), answered, (sent >= 0) & (answered > begin)),
        ("completion", answered, end, (answered > begin) & (answered < end)),
    )
    rows = []
    for name, first, last, has in parts:
        at = np.flatnonzero(has)
        names = [f"{driver.name} {name}"] * at.size
        tid = ev.tid[begin[at]].astype(np.int64)
        rows.append(StepRows(owner[at], stage[at], names, ev.ts_ns[first[at]], ev.ts_ns[last[at]], tid))
    return StepRows.joined(rows)


def _in_turn(window: Window, driver: _Driver, issue: Ints, devices: Sequence[int]) -> Ints:
    """Return the command event of each request: on a thread some requests, and then their commands in that order.

    A thread's requests of all IOs are looked at. Of those that got too few commands, none is taken.
    """
    ev, command, every = window.events, window.at(driver.command), window.at("rq_issue")
    every = every[np.isin(ev.space[every], np.array(devices, dtype=np.int64))]
    at = np.concatenate([every, command])
    at = at[np.lexsort((at, ev.tid[at]))]
    is_command = np.isin(at, command)
    is_first = np.append(True, (np.diff(ev.tid[at]) != 0) | (is_command[:-1] & ~is_command[1:]))[: at.size]
    first, group = np.flatnonzero(is_first), np.cumsum(is_first) - 1
    commands = np.add.reduceat(is_command, first, dtype=np.int64)
    requests = np.diff(np.append(first, at.size)) - commands
    found = np.full(ev.tid.size, NONE, dtype=np.int64)
    place = np.flatnonzero(~is_command & (commands >= requests)[group])
    found[at[place]] = at[place + requests[group[place]]]
    return found[issue]


def _commands(window: Window, driver: _Driver, issue: Ints, _: Sequence[int]) -> Ints:
    """Return the command event of each request (its issue), -1 where it was not seen."""
    ev, command = window.events, window.at(driver.command)
    tid = ev.tid[issue].astype(np.uint64)
    find = latest_before if driver.is_first else first_after
    found = picked(command, find(issue, tid, command, ev.tid[command].astype(np.uint64)))
    # of requests that one command seems to be of, it is the nearest's
    near = np.where(found >= 0, np.abs(found - issue), np.iinfo(np.int64).max)
    order = np.lexsort((near, found))
    is_again = np.append(False, found[order][1:] == found[order][:-1])
    found[order[is_again]] = NONE
    return found


def _answers(window: Window, driver: _Driver, sent: Ints, complete: Ints) -> Ints:
    """Return the event with which the driver learned that the device had done each command, -1 if it was not seen."""
    ev, end = window.events, window.at(driver.end)
    if not driver.has_tags:
        done, of = np.unique(complete, return_inverse=True)
        tid = ev.tid[done].astype(np.uint64)
        return picked(end, latest_before(done, tid, end, ev.tid[end].astype(np.uint64)))[of]
    command = window.at(driver.command)
    found = picked(end, pair(command, _tags(window, command), end, _tags(window, end)).end)
    position = np.searchsorted(command, sent)
    return np.where(sent >= 0, picked(found, np.where(sent >= 0, position, NONE)), NONE)


def _tags(window: Window, at: Ints) -> Keys:
    """Make one number of all that tells a command from others in flight: adapter, queue or address, tag."""
    ev = window.events
    place = ev.flags[at].astype(np.uint64) ^ (ev.bytes[at].astype(np.uint64) << np.uint64(8))
    lun = ev.offset[at].astype(np.uint64) << np.uint64(12)
    return np.asarray((ev.space[at].astype(np.uint64) << np.uint64(48)) ^ ((place ^ lun) << np.uint64(24)) ^ ev.key[at])
