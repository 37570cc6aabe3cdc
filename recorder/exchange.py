"""Images that QEMU exchanges while it is recorded: after a snapshot or a mirror a disk's data goes to another file."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from vio.manifest import Manifest
from vio.mappers.images import Role
from vio.printable import printable
from vio.recorder.clock import moment
from vio.recorder.disks import Disk
from vio.recorder.imagechain import ChainFile
from vio.recorder.maptaker import MapTaker
from vio.recorder.procfs import HostRoots, read_written_paths
from vio.recorder.scope import find_ground
from vio.recorder.target import Target


@dataclass(slots=True)
class OpenedFiles:
    """What a process opens for writing while it is watched: an image that is exchanged is among it."""

    process: Path
    found: list[str] = field(default_factory=list)
    _known: set[str] | None = None

    def look(self) -> None:
        """Look at what it has open now; the first look tells what is not new."""
        try:
            paths = read_written_paths(self.process)
        except OSError:  # it has ended, or may not be looked at
            return
        if self._known is None:
            self._known = set(paths)
        self.found += dict.fromkeys(path for path in paths if path not in {*self._known, *self.found})

    def note(self) -> str:
        """Say which files these are, for where nobody could be asked what they are for."""
        paths = ", ".join(map(printable, self.found))
        return f"opened for writing meanwhile: {paths}: not mapped, if it is a disk's image now (a snapshot, a mirror)"


def take_in(before: Target, now: Target, manifest: Manifest, maps: MapTaker) -> tuple[Target, Manifest] | None:
    """Take in images that are other files now, and hold them for mapping; None if there are none.

    The target's disks are as they were, with their new images among `overlays`; the manifest names what those lie on.
    """
    found = _exchanged(before.disks, now.disks)
    if not found:
        return None
    disks = {disk.name: disk for disk in before.disks}
    for disk, image in found:
        disks[disk.name] = disk
        maps.exchange(image, HostRoots().process(now.pid), moment().boottime_ns)
        manifest = _with_ground(manifest, image)
        said = f"{disk.name}: its image was exchanged while it was recorded (a snapshot, a mirror)"
        path = printable(image.path)
        manifest = with_notes(manifest, f"{said} and is {path} now; what its file system did there was not recorded")
    return replace(before, disks=tuple(disks.values())), manifest


def with_notes(manifest: Manifest, *notes: str) -> Manifest:
    """Add notes to a manifest."""
    return replace(manifest, notes=(*manifest.notes, *notes))


def _with_ground(manifest: Manifest, image: Disk) -> Manifest:
    ground, known = find_ground([image]), {device.kernel_dev for device in manifest.devices}
    files = {file.space: file for file in (*manifest.files, *ground.files)}
    new = [device for device in ground.devices if device.kernel_dev not in known]
    found = replace(manifest, files=tuple(files.values()), devices=(*manifest.devices, *new))
    late = "its IO was not recorded: an image came to lie on it only later"
    return with_notes(found, *(f"{device.name}: {late}" for device in new))


def _exchanged(before: Iterable[Disk], now: Iterable[Disk]) -> list[tuple[Disk, Disk]]:
    """Return the disks whose image is another file now: as they were, with that file among `overlays`; and as now."""
    by_name = {disk.name: disk for disk in now}
    found = []
    for disk in before:
        image = by_name.get(disk.name)
        known = [_identity(disk), *(_identity(overlay) for overlay in disk.overlays)]
        if image is None or image.below is None or _identity(image) in known:
            continue
        overlay = ChainFile(
            Role.OVERLAY,
            image.path,
            image.format,
            image.fds,
            image.device or (0, 0),
            image.inode or 0,
            image.is_block_device,
            bool(image.is_direct),
            image.below,
            image.cluster_bytes,
            image.subcluster_bytes,
        )
        still = [fd for file in image.chain if _identity(file) == _identity(disk) for fd in file.fds]
        fds = tuple(dict.fromkeys((*disk.fds, *still)))
        found.append((replace(disk, fds=fds, overlays=(*disk.overlays, overlay)), image))
    return found


def _identity(file: Disk | ChainFile) -> tuple[bool, tuple[int, int] | None, int | None]:
    return file.is_block_device, file.device, None if file.is_block_device else file.inode
