"""Requests of loop devices: what was seen below them. One device of which any was must show every one."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from vio.reporter.block import Blocks
from vio.reporter.carriers import Carriers
from vio.reporter.compiled import Bools, Ints, compiled, new_table, place_of
from vio.reporter.events import Events
from vio.reporter.paths import HostLinks
from vio.reporter.sectors import OP_FLUSH

_DISCARD = 4


@dataclass(frozen=True, slots=True)
class LoopRequests:
    """Of each request: whether it is of a loop device that shows its work, and whether it was seen below.

    `unseen` ones carry data and should have been; `faulty` ones lack a request below, or its completion.
    """

    is_upper: Bools
    is_seen: Bools
    unseen: Bools
    faulty: Bools

    @classmethod
    def of(cls, ev: Events, blocks: Blocks, links: HostLinks, carriers: Carriers) -> Self:
        """Find them in a window's events."""
        is_seen = _seen(links.work_request, blocks.issue.size)
        if not is_seen.any():
            return cls(is_seen, is_seen, is_seen, is_seen)
        is_upper, unseen = _unseen(blocks.issue, is_seen, ev.space, ev.flags, ev.bytes)
        bios = links.bio_upper, blocks.is_lowest, blocks.request, blocks.complete
        works = links.work_request, carriers.work_end, carriers.works.is_direct
        return cls(is_upper, is_seen, unseen, _faulty(*bios, *works))


@compiled
def _seen(work_request: Ints, requests: int) -> Bools:
    is_seen = np.zeros(requests, np.bool_)
    for request in work_request:
        if request >= 0:
            is_seen[request] = True
    return is_seen


@compiled
def _unseen(
    issue: Ints, is_seen: Bools, space: npt.NDArray[np.uint32], flags: npt.NDArray[np.uint16], size: Ints
) -> tuple[Bools, Bools]:
    """Return which requests are of a device of which some are seen below, and which of these carry data and are not."""
    keys, number = new_table(issue.size)
    mask = keys.size - 1
    for request in range(issue.size):
        if is_seen[request]:
            device = np.uint64(space[issue[request]])
            place = place_of(keys, number, mask, device)
            keys[place], number[place] = device, 0
    is_upper, unseen = np.zeros(issue.size, np.bool_), np.zeros(issue.size, np.bool_)
    for request in range(issue.size):
        at = issue[request]
        is_upper[request] = number[place_of(keys, number, mask, np.uint64(space[at]))] == 0
        is_data = flags[at] != _DISCARD and (flags[at] != OP_FLUSH or size[at] != 0)
        unseen[request] = is_upper[request] and is_data and not is_seen[request]
    return is_upper, unseen


@compiled
def _faulty(
    bio_upper: Ints,
    is_lowest: Bools,
    request: Ints,
    complete: Ints,
    work_request: Ints,
    work_end: Ints,
    is_direct: Bools,
) -> Bools:
    """Return which have a bio below without a request, or one without completion, or work without an end."""
    is_faulty = np.zeros(complete.size, np.bool_)
    for bio in range(bio_upper.size):
        if bio_upper[bio] >= 0 and is_lowest[bio] and (request[bio] < 0 or complete[request[bio]] < 0):
            is_faulty[bio_upper[bio]] = True
    for work in range(work_request.size):
        if work_request[work] >= 0 and is_direct[work] and work_end[work] < 0:
            is_faulty[work_request[work]] = True
    return is_faulty
