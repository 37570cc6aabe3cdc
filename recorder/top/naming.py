"""Whose the counted IOs are: from the numbers of QEMU's nodes and of devices to the disks of the VM. Pure.

What the program has noted: which call into the block layer was made within which (`in`), which BlockAcctStats was the
last before it (`of`), which file descriptor it led to (`fd`). A node that nothing is above is a disk's own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vio.manifest import DeviceInfo
from vio.mappers.device.tree import DeviceKind
from vio.recorder.disks import Disk
from vio.recorder.procfs import OpenFile
from vio.recorder.top.slot import Level, Slot
from vio.recorder.top.snapshot import Snapshot

_MAPPED = frozenset({DeviceKind.DM, DeviceKind.MD, DeviceKind.PARTITION})
UNKNOWN = "?"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a slot stands: under which disks, at which level, how deep there, and what it is called.

    In their order the device below a loop device comes after it, with its bios and its requests: `storey` is BLOCK for
    both levels of devices.
    """

    disks: tuple[str, ...]
    storey: Level
    depth: int
    level: Level
    name: str = ""


@dataclass(frozen=True, slots=True)
class Below:
    """The host's devices under each disk, the nearest first, by their numbers in the kernel."""

    devices: Mapping[str, Sequence[DeviceInfo]] = field(default_factory=dict)

    def queues(self) -> tuple[int, ...]:
        """Return the devices that make requests of bios: not those that hand them on."""
        found = {
            one.kernel_dev: None for devices in self.devices.values() for one in devices if one.kind not in _MAPPED
        }
        return tuple(found)

    def whole(self) -> dict[int, int]:
        """Return the disk of each partition."""
        return {
            one.kernel_dev: one.parents[0]
            for devices in self.devices.values()
            for one in devices
            if one.kind == DeviceKind.PARTITION and one.parents
        }

    def place(self, slot: Slot) -> Place | None:
        """Return the place of a device's slot; None where it is under none of the disks."""
        disks = tuple(name for name, devices in self.devices.items() if any(slot.id == d.kernel_dev for d in devices))
        for name in disks:
            depth = next(i for i, one in enumerate(self.devices[name]) if one.kernel_dev == slot.id)
            return Place(disks, Level.BLOCK, depth, slot.level, self.devices[name][depth].name)
        return None


class Names:
    """Places by slot, from all that was noted so far; `files` are the process's open ones."""

    def __init__(self, disks: Sequence[Disk], below: Below) -> None:
        self._disks = disks
        self._below = below
        self._own = {(disk.device, disk.inode): disk.name for disk in disks}
        self._other = {(file.device, file.inode): disk.name for disk in disks for file in disk.chain}
        self._by_fd: dict[int, str] = {}

    def learn_files(self, files: Iterable[OpenFile]) -> None:
        """Take the descriptors of the process."""
        for file in files:
            identity = (file.device, file.inode)
            name = self._own.get(identity) or self._other.get(identity)
            if name:
                self._by_fd[file.fd] = name

    def knows_all(self, now: Snapshot) -> bool:
        """Tell whether every descriptor that was seen has a name."""
        return all(number - 1 in self._by_fd for number in now.of("fd").values() if number)

    def places(self, now: Snapshot, slots: Iterable[Slot]) -> dict[Slot, Place]:
        """Return the place of each slot; those of devices under none of the disks are left out."""
        owners = self._owners(now)
        found: dict[Slot, Place] = {}
        for slot in slots:
            if slot.level in {Level.BLOCK, Level.DEVICE}:
                place = self._below.place(slot)
                if place:
                    found[slot] = place
                continue
            name = owners.get(slot.id) or self._left_over(owners)
            is_inner = slot.level is Level.QEMU_BLOCK and bool(now.of("in").get((slot.id, 0)))
            found[slot] = Place((name,), slot.level, int(is_inner), slot.level, "file" if is_inner else "")
        return found

    def _left_over(self, owners: Mapping[int, str]) -> str:
        """Name the disk that no other node was found to be of, if there is but one: it has used no file yet."""
        left = [disk.name for disk in self._disks if disk.name not in set(owners.values())]
        names = [disk.name for disk in self._disks]
        return left[0] if len(left) == 1 else names[0] if len(names) == 1 else UNKNOWN

    def _owners(self, now: Snapshot) -> dict[int, str]:
        """Name the disk of each node and BlockAcctStats: of the file below it, and so of all above that, and back."""
        above = {node: upper for (node, _), upper in now.of("in").items() if node and upper}
        found: dict[int, str] = {}
        for (node, _), number in now.of("fd").items():
            name = self._by_fd.get(number - 1)
            while name and node and found.get(node) != name:
                found.setdefault(node, name)
                node = above.get(node, 0)
        found |= _accounts(now, found)
        for node, account in now.of("of"):
            if node and account in found and node not in above:
                found.setdefault(node, found[account])
        for _ in range(len(above)):
            more = {node: found[upper] for node, upper in above.items() if node not in found and upper in found}
            if not more:
                break
            found |= more
        return found


def _accounts(now: Snapshot, nodes: Mapping[int, str]) -> dict[int, str]:
    """Name the disk of each BlockAcctStats: that of the node it was most often followed by."""
    votes: dict[int, dict[str, int]] = {}
    for (node, account), count in now.of("of").items():
        name = nodes.get(node)
        if account and name:
            counts = votes.setdefault(account, {})
            counts[name] = counts.get(name, 0) + count
    return {account: max(sorted(counts), key=lambda name: counts[name]) for account, counts in votes.items()}
