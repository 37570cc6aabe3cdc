"""Count how the layers were joined, and check one kind of evidence against another."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vio.layer import Stage
from vio.mappers.extent import RangeMap
from vio.mappers.kind import Kind, base_of
from vio.reporter.carriers import FileId
from vio.reporter.counting import (
    IS_DATA,
    count_bios,
    count_heads,
    count_served,
    count_submits,
    count_uppers,
    data_submits,
    direct_works,
    first_owned,
    targets_of,
)
from vio.reporter.join import Joined
from vio.reporter.match import NONE, Ints
from vio.reporter.quality import Evidence, JoinQuality

_ENGINES = (("laio", Evidence.NESTING), ("luring", Evidence.IDENTITY), ("pool", Evidence.ADDRESS))


@dataclass(frozen=True, slots=True)
class Targets:
    """A map of which only the ranges count that are at an address of their own; `target` is -1 for the others."""

    start: Ints
    length: Ints
    target: Ints

    @classmethod
    def of(cls, one: RangeMap) -> "Targets":
        """Return the targets of a map."""
        target = np.where(base_of(one.kind) == Kind.MAPPED, one.target, NONE)
        return cls(*(np.require(column, np.int64, ["C", "W"]) for column in (one.start, one.length, target)))


@dataclass(frozen=True, slots=True)
class DiskMaps:
    """Maps of one disk, at the start and at the stop: guest disk -> image file, and image file -> device by number.

    `descriptors` are those of the file that has the guest's data (none: they are not known), `file` is which it is.
    """

    to_file: tuple[Targets, ...]
    to_device: Mapping[int, tuple[Targets, ...]]
    descriptors: tuple[int, ...] = ()
    file: FileId | None = None


def count_evidence(quality: JoinQuality, joined: Joined, disk: Ints, maps: tuple[DiskMaps, ...]) -> None:
    """Add one window's links to the figures; only IOs that are done in it count."""
    frames, carriers = joined.frames, joined.carriers
    if (joined.ios.push >= 0).any():
        _count_roots(quality, joined)
    counts = count_submits(
        *(frames.submit, joined.window.events.point, joined.submit_io, joined.is_done),
        *(carriers.carrier, carriers.is_ambiguous),
    )
    done, _, ambiguous, lost = counts.sum(axis=0).tolist()
    checked, disagree = _check_file_map(joined, disk, maps)
    quality.count(
        Stage.QEMU_BLOCK,
        Stage.QEMU_AIO,
        Evidence.IDENTITY,
        parents=done + lost,
        joined=done,
        checked=checked,
        disagree=disagree,
    )
    for name, evidence in _ENGINES:
        parents, found = counts[joined.window.number(name), :2].tolist()
        if parents:
            quality.count(Stage.QEMU_AIO, Stage.VFS, evidence, parents=parents, joined=found)
    _count_works(quality, joined, disk, maps)
    _count_requests(quality, joined)
    quality.ambiguous += ambiguous


def _count_roots(quality: JoinQuality, joined: Joined) -> None:
    ios, frames = joined.ios, joined.frames
    heads, found, checked, disagree = count_heads(
        *(joined.is_done, ios.head, ios.root, IS_DATA[ios.op], ios.offset, frames.call, joined.window.events.offset)
    )
    quality.count(
        Stage.QEMU_DEVICE,
        Stage.QEMU_BLOCK,
        Evidence.IDENTITY,
        parents=heads,
        joined=found,
        checked=checked,
        disagree=disagree,
    )


def _check_file_map(joined: Joined, disk: Ints, maps: tuple[DiskMaps, ...]) -> tuple[int, int]:
    """Compare the place in the image file that QEMU used with the one that the tables give."""
    ev, frames, ios = joined.window.events, joined.frames, joined.ios
    first = first_owned(joined.submit_io, joined.is_done.size)
    calls = frames.submit, frames.submit_parent, frames.call, ev.key, ev.space
    checked = disagree = 0
    for number, one in enumerate(maps):
        is_mine = joined.is_done & IS_DATA[ios.op] & (disk == number)
        which, submits = data_submits(first, is_mine, ios.root, *calls, np.array(one.descriptors, dtype=np.int64))
        known, wrong = _disagreement(one.to_file, ios.offset[which], ev.offset[submits])
        checked += known
        disagree += wrong
    return checked, disagree


def _disagreement(maps: tuple[Targets, ...], offset: Ints, target: Ints) -> tuple[int, int]:
    """Return of how many offsets any map knows the place, and of how many of these none gives the target."""
    agree = np.zeros(offset.size, dtype=np.bool_)
    known = np.zeros(offset.size, dtype=np.bool_)
    for one in maps:
        place = targets_of(one.start, one.length, one.target, offset)
        known |= place >= 0
        agree |= (place >= 0) & (place == target)
    return int(np.count_nonzero(known)), int(np.count_nonzero(known & ~agree))


def _count_works(quality: JoinQuality, joined: Joined, disk: Ints, maps: tuple[DiskMaps, ...]) -> None:
    ev, carriers, blocks, links = joined.window.events, joined.carriers, joined.blocks, joined.links
    owners = carriers.work_submit, carriers.works.is_direct, joined.submit_io, joined.is_done
    works, with_bio, bio = direct_works(*owners, first_owned(links.bio_submit, joined.submit_io.size))
    if not works:
        return
    is_native = joined.window.is_at(joined.frames.submit, "laio", "luring")
    must, served = count_served(carriers.work_submit, joined.submit_io, joined.is_done, is_native)
    quality.count(Stage.VFS, Stage.FS, Evidence.NESTING, parents=must, joined=served)
    checked = disagree = 0
    number_of = disk[joined.submit_io[carriers.work_submit[with_bio]]]
    begin = carriers.work[with_bio]
    for number, one in enumerate(maps):
        for device, device_map in one.to_device.items():
            which = (number_of == number) & (blocks.bio_device[bio] == device)
            if one.file is not None:
                which &= (ev.space[begin] == one.file[0]) & (ev.key[begin] == one.file[1])
            known, wrong = _disagreement(device_map, ev.offset[begin[which]], blocks.bio_offset[bio[which]])
            checked += known
            disagree += wrong
    quality.count(
        *(Stage.FS, Stage.BLOCK, Evidence.NESTING),
        parents=works,
        joined=with_bio.size,
        checked=checked,
        disagree=disagree,
    )


def _count_requests(quality: JoinQuality, joined: Joined) -> None:
    blocks, links = joined.blocks, joined.links
    bios = links.bio_submit, links.bio_upper, blocks.request, blocks.is_lowest, blocks.is_ambiguous
    mine, found, ambiguous, others = count_bios(*bios, joined.submit_io, joined.is_done)
    if mine:
        quality.count(Stage.BLOCK, Stage.DEVICE, Evidence.ADDRESS, parents=mine, joined=found)
    quality.ambiguous += ambiguous
    quality.orphans["bios of no IO in flight (writeback, journals, neighbours)"] += others
    loops = joined.loops
    if loops.is_seen.any():
        of_ios = links.bio_submit, blocks.request, joined.submit_io, joined.is_done
        parents, below = count_uppers(*of_ios, loops.is_upper, loops.is_seen)
        quality.count(Stage.DEVICE, Stage.LOOP_FS, Evidence.ADDRESS, parents=parents, joined=below)
