"""Count how the layers were joined, and check one kind of evidence against another."""

from dataclasses import dataclass

import numpy as np

from vio.layer import Op, Stage
from vio.mappers.extent import RangeMap
from vio.mappers.kind import Kind, base_of
from vio.reporter.carriers import FileId
from vio.reporter.join import Joined
from vio.reporter.lacks import devices_of
from vio.reporter.match import NONE, Bools, Ints
from vio.reporter.quality import Evidence, JoinQuality

_DATA_OPS = [number for number, op in enumerate(Op) if op in (Op.READ, Op.WRITE)]
_ENGINES = (("laio", Evidence.NESTING), ("luring", Evidence.IDENTITY), ("pool", Evidence.ADDRESS))


@dataclass(frozen=True, slots=True)
class DiskMaps:
    """Maps of one disk, at the start and at the stop: guest disk -> image file, and image file -> device.

    `descriptors` are those of the file that has the guest's data (none: they are not known), `file` is which it is.
    """

    to_file: tuple[RangeMap, ...] = ()
    to_device: tuple[tuple[int, RangeMap], ...] = ()  # kernel device number, map
    descriptors: tuple[int, ...] = ()
    file: FileId | None = None


def count_evidence(quality: JoinQuality, joined: Joined, disk: Ints, maps: tuple[DiskMaps, ...]) -> None:
    """Add one window's links to the figures; only IOs that are done in it count."""
    ios, frames, carriers = joined.ios, joined.frames, joined.carriers
    is_done = np.append(joined.is_done, False)
    submit_done = is_done[joined.submit_io]
    if (ios.push >= 0).any():
        _count_roots(quality, joined)
    first = _first_submits(joined)
    checked, disagree = _check_file_map(joined, first, disk, maps)
    quality.count(
        Stage.QEMU_BLOCK,
        Stage.QEMU_AIO,
        Evidence.IDENTITY,
        parents=int(submit_done.sum()) + int((joined.submit_io < 0).sum()),
        joined=int(submit_done.sum()),
        checked=checked,
        disagree=disagree,
    )
    for name, evidence in _ENGINES:
        mine = submit_done & joined.window.is_at(frames.submit, name)
        if mine.any():
            found = int((mine & (carriers.carrier >= 0)).sum())
            quality.count(Stage.QEMU_AIO, Stage.VFS, evidence, parents=int(mine.sum()), joined=found)
    _count_works(quality, joined, disk, maps, submit_done)
    _count_requests(quality, joined, submit_done)
    quality.ambiguous += int(carriers.is_ambiguous[submit_done].sum())


def _count_roots(quality: JoinQuality, joined: Joined) -> None:
    ev, ios, frames = joined.window.events, joined.ios, joined.frames
    heads = np.flatnonzero(joined.is_done & (ios.head == np.arange(ios.head.size)))
    found = heads[ios.root[heads] >= 0]
    data = found[np.isin(ios.op[found], _DATA_OPS)]
    agree = ev.offset[frames.call[ios.root[data]]] == ios.offset[data]
    quality.count(
        Stage.QEMU_DEVICE,
        Stage.QEMU_BLOCK,
        Evidence.IDENTITY,
        parents=heads.size,
        joined=found.size,
        checked=data.size,
        disagree=int((~agree).sum()),
    )


def _first_submits(joined: Joined) -> Ints:
    """Return the first submit (position) of each IO that reads or writes and is done, else -1."""
    first = np.full(joined.ios.begin.size, NONE)
    owned = np.flatnonzero(joined.submit_io >= 0)[::-1]
    first[joined.submit_io[owned]] = owned
    usable = joined.is_done & np.isin(joined.ios.op, _DATA_OPS)
    return np.where(usable, first, NONE)


def _check_file_map(joined: Joined, first: Ints, disk: Ints, maps: tuple[DiskMaps, ...]) -> tuple[int, int]:
    """Compare the place in the image file that QEMU used with the one that the tables give."""
    ev = joined.window.events
    checked = disagree = 0
    for number, one in enumerate(maps):
        ios = np.flatnonzero((first >= 0) & (disk == number))
        # Only data goes to the place of the data: what QEMU does before (tables, copy on write) has another length.
        same = joined.submit_io[first[ios]] == ios
        ios = ios[same]
        submits = joined.frames.submit[first[ios]]
        parent = joined.frames.submit_parent[first[ios]]
        is_data = ev.key[joined.frames.call[parent]] == ev.key[joined.frames.call[joined.ios.root[ios]]]
        if one.descriptors:
            is_data &= np.isin(ev.space[submits], one.descriptors)  # what a backing file gives is not in this map
        agree, known = _agreement(one.to_file, joined.ios.offset[ios[is_data]], ev.offset[submits[is_data]])
        checked += int(known.sum())
        disagree += int((known & ~agree).sum())
    return checked, disagree


def _agreement(maps: tuple[RangeMap, ...], offset: Ints, target: Ints) -> tuple[Bools, Bools]:
    """Return for each offset whether any map gives the target, and whether any map knows the offset's place."""
    agree = np.zeros(offset.size, dtype=np.bool_)
    known = np.zeros(offset.size, dtype=np.bool_)
    for one in maps:
        place = _places(one, offset)
        known |= place >= 0
        agree |= (place >= 0) & (place == target)
    return agree, known


def _places(one: RangeMap, offset: Ints) -> Ints:
    at = np.searchsorted(one.start, offset, side="right") - 1
    inside = (
        (at >= 0) & (offset < one.start[np.maximum(at, 0)] + one.length[np.maximum(at, 0)]) if len(one) else at >= 0
    )
    if not len(one):
        return np.full(offset.size, NONE)
    is_mapped = inside & (base_of(one.kind[at]) == Kind.MAPPED) & (one.target[at] >= 0)
    return np.where(is_mapped, one.target[at] + offset - one.start[at], NONE)


def _count_works(
    quality: JoinQuality, joined: Joined, disk: Ints, maps: tuple[DiskMaps, ...], submit_done: Bools
) -> None:
    ev, carriers, blocks = joined.window.events, joined.carriers, joined.blocks
    submit = carriers.work_submit
    owned = (submit >= 0) & submit_done[submit] if submit_done.size else submit >= 0
    dio = owned & joined.window.is_at(carriers.work, "dio")
    if not dio.any():
        return
    served = np.zeros(joined.frames.submit.size, dtype=np.bool_)
    served[submit[owned]] = True
    is_direct = joined.window.is_at(joined.frames.submit, "laio", "luring") & submit_done
    quality.count(
        Stage.VFS, Stage.FS, Evidence.NESTING, parents=int((is_direct | served).sum()), joined=int(served.sum())
    )
    bios = np.flatnonzero(joined.links.bio_submit >= 0)
    first = np.full(joined.frames.submit.size, NONE)
    first[joined.links.bio_submit[bios[::-1]]] = bios[::-1]
    with_bio = np.flatnonzero(dio)[first[submit[dio]] >= 0]
    bio = first[submit[with_bio]]
    checked = disagree = 0
    number_of = np.append(disk, NONE)[joined.submit_io[submit[with_bio]]]
    for number, one in enumerate(maps):
        for device, device_map in _by_device(one):
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


def _by_device(one: DiskMaps) -> list[tuple[int, tuple[RangeMap, ...]]]:
    devices = dict.fromkeys(device for device, _ in one.to_device)
    return [(device, tuple(m for d, m in one.to_device if d == device)) for device in devices]


def _count_requests(quality: JoinQuality, joined: Joined, submit_done: Bools) -> None:
    ev, blocks, links = joined.window.events, joined.blocks, joined.links
    mine = (links.bio_submit >= 0) & submit_done[links.bio_submit] if submit_done.size else links.bio_submit >= 0
    found = mine & (blocks.request >= 0)
    if mine.any():
        quality.count(Stage.BLOCK, Stage.DEVICE, Evidence.ADDRESS, parents=int(mine.sum()), joined=int(found.sum()))
    quality.ambiguous += int((mine & blocks.is_ambiguous).sum())
    below = np.zeros(blocks.issue.size, dtype=np.bool_)
    below[links.work_request[links.work_request >= 0]] = True
    if below.any():
        loops = devices_of(ev.space[blocks.issue[below]])
        is_upper = np.zeros(blocks.issue.size, dtype=np.bool_)
        is_upper[blocks.request[found]] = True
        upper = np.flatnonzero(is_upper)
        on_loop = upper[np.isin(ev.space[blocks.issue[upper]], loops)]
        quality.count(
            Stage.DEVICE,
            Stage.LOOP_FS,
            Evidence.ADDRESS,
            parents=on_loop.size,
            joined=int(below[on_loop].sum()),
        )
    others = (links.bio_submit < 0) & (links.bio_upper < 0) & (blocks.request >= 0)
    quality.orphans["bios of no IO in flight (writeback, journals, neighbours)"] += int(others.sum())
