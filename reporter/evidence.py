"""Count how the layers were joined, and check one kind of evidence against another."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vio.layer import Op, Stage
from vio.mappers.extent import RangeMap
from vio.mappers.kind import Kind, base_of
from vio.reporter.carriers import FileId
from vio.reporter.counting import count_bios, count_heads, count_submits, first_owned, targets_of
from vio.reporter.join import Joined
from vio.reporter.lacks import devices_of
from vio.reporter.match import NONE, Bools, Ints
from vio.reporter.quality import Evidence, JoinQuality

_DATA_OPS = [number for number, op in enumerate(Op) if op in (Op.READ, Op.WRITE)]
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
    submit_done = np.append(joined.is_done, False)[joined.submit_io]
    _count_works(quality, joined, disk, maps, submit_done)
    _count_requests(quality, joined, submit_done)
    quality.ambiguous += ambiguous


def _count_roots(quality: JoinQuality, joined: Joined) -> None:
    ios, frames = joined.ios, joined.frames
    heads, found, checked, disagree = count_heads(
        *(joined.is_done, ios.head, ios.root, _is_data(ios.op), ios.offset, frames.call, joined.window.events.offset)
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


def _is_data(op: Ints) -> Bools:
    return np.array([number in _DATA_OPS for number in range(len(Op))])[op]


def _check_file_map(joined: Joined, disk: Ints, maps: tuple[DiskMaps, ...]) -> tuple[int, int]:
    """Compare the place in the image file that QEMU used with the one that the tables give."""
    ev = joined.window.events
    first = first_owned(joined.submit_io, joined.is_done.size)
    usable = (first >= 0) & joined.is_done & _is_data(joined.ios.op)
    checked = disagree = 0
    for number, one in enumerate(maps):
        ios = np.flatnonzero(usable & (disk == number))
        # Only data goes to the place of the data: what QEMU does before (tables, copy on write) has another length.
        submits = joined.frames.submit[first[ios]]
        parent = joined.frames.submit_parent[first[ios]]
        is_data = ev.key[joined.frames.call[parent]] == ev.key[joined.frames.call[joined.ios.root[ios]]]
        if one.descriptors:
            is_data &= np.isin(ev.space[submits], one.descriptors)  # what a backing file gives is not in this map
        agree, known = _agreement(one.to_file, joined.ios.offset[ios[is_data]], ev.offset[submits[is_data]])
        checked += int(known.sum())
        disagree += int((known & ~agree).sum())
    return checked, disagree


def _agreement(maps: tuple[Targets, ...], offset: Ints, target: Ints) -> tuple[Bools, Bools]:
    """Return for each offset whether any map gives the target, and whether any map knows the offset's place."""
    agree = np.zeros(offset.size, dtype=np.bool_)
    known = np.zeros(offset.size, dtype=np.bool_)
    for one in maps:
        place = targets_of(one.start, one.length, one.target, offset)
        known |= place >= 0
        agree |= (place >= 0) & (place == target)
    return agree, known


def _count_works(
    quality: JoinQuality, joined: Joined, disk: Ints, maps: tuple[DiskMaps, ...], submit_done: Bools
) -> None:
    ev, carriers, blocks = joined.window.events, joined.carriers, joined.blocks
    submit = carriers.work_submit
    owned = (submit >= 0) & submit_done[submit] if submit_done.size else submit >= 0
    dio = owned & carriers.works.is_direct
    if not dio.any():
        return
    served = np.zeros(joined.frames.submit.size, dtype=np.bool_)
    served[submit[owned]] = True
    is_direct = joined.window.is_at(joined.frames.submit, "laio", "luring") & submit_done
    quality.count(
        Stage.VFS, Stage.FS, Evidence.NESTING, parents=int((is_direct | served).sum()), joined=int(served.sum())
    )
    first = first_owned(joined.links.bio_submit, joined.frames.submit.size)
    with_bio = np.flatnonzero(dio)[first[submit[dio]] >= 0]
    bio = first[submit[with_bio]]
    checked = disagree = 0
    number_of = np.append(disk, NONE)[joined.submit_io[submit[with_bio]]]
    for number, one in enumerate(maps):
        for device, device_map in one.to_device.items():
            which = (number_of == number) & (blocks.bio_device[bio] == device)
            if one.file is not None:
                which &= (ev.space[carriers.work[with_bio]] == one.file[0]) & (
                    ev.key[carriers.work[with_bio]] == one.file[1]
                )
            offsets = ev.offset[carriers.work[with_bio[which]]]
            agree, known = _agreement(device_map, offsets, blocks.bio_offset[bio[which]])
            checked += int(known.sum())
            disagree += int((known & ~agree).sum())
    quality.count(
        Stage.FS,
        Stage.BLOCK,
        Evidence.NESTING,
        parents=int(dio.sum()),
        joined=with_bio.size,
        checked=checked,
        disagree=disagree,
    )


def _count_requests(quality: JoinQuality, joined: Joined, submit_done: Bools) -> None:
    ev, blocks, links = joined.window.events, joined.blocks, joined.links
    mine, found, ambiguous, others = count_bios(
        *(links.bio_submit, links.bio_upper, blocks.request, blocks.is_lowest, blocks.is_ambiguous),
        *(joined.submit_io, joined.is_done),
    )
    if mine:
        quality.count(Stage.BLOCK, Stage.DEVICE, Evidence.ADDRESS, parents=mine, joined=found)
    quality.ambiguous += ambiguous
    quality.orphans["bios of no IO in flight (writeback, journals, neighbours)"] += others
    below = np.zeros(blocks.issue.size, dtype=np.bool_)
    below[links.work_request[links.work_request >= 0]] = True
    if below.any():
        loops = devices_of(ev.space[blocks.issue[below]])
        is_upper = np.zeros(blocks.issue.size, dtype=np.bool_)
        bios = np.flatnonzero((links.bio_submit >= 0) & (blocks.request >= 0))
        is_upper[blocks.request[bios[submit_done[links.bio_submit[bios]]]]] = True
        upper = np.flatnonzero(is_upper)
        on_loop = upper[np.isin(ev.space[blocks.issue[upper]], loops)]
        quality.count(
            Stage.DEVICE,
            Stage.LOOP_FS,
            Evidence.ADDRESS,
            parents=on_loop.size,
            joined=int(below[on_loop].sum()),
        )
