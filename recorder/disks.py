"""A VM's disks: what its command line and its monitor say, checked against the files it has open."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vio.layer import Layer
from vio.recorder.diskplan import DiskPlan
from vio.recorder.imagechain import ChainFile, find_chain
from vio.recorder.imagefile import (
    ProcessFiles,
    best_match,
    block_size,
    open_matches,
    path_identity,
    probed_format,
)
from vio.recorder.nodes import LOCAL_PROTOCOLS, ImageChain, resolve
from vio.recorder.procfs import HostRoots, OpenFile
from vio.recorder.qmp import QmpBlock
from vio.recorder.storage import HostDevice, device_below

_SEEN_MODELS = ("virtio-blk", "virtio-scsi")
_PASSED_ON = (": scsi-block", ": scsi-generic")


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk of a target.

    `names` are all the words that a user may call it by. `path` is the image's absolute path as the
    process itself sees it. `fd`, `device` and `inode` are of the open file, None where none is open.
    `is_direct` is the open file's O_DIRECT, not the command line's word. `seen_layers` are QEMU's layers
    that can be followed even where the disk's whole way (`followable`) cannot; `why_not` says what is not
    visible. `chain` are the other files of the image: an external data file, backing files. `cluster_bytes` and
    `subcluster_bytes` (what is allocated at once) are those of a qcow2 image, else 0. `overlays` are what QEMU has put
    in the image's place since it was first looked at, in order of time.
    """

    name: str
    names: tuple[str, ...]
    model: str
    format: str
    protocol: str
    path: str
    cache: str
    aio: str
    is_read_only: bool
    node_names: tuple[str, ...] = ()
    fd: int | None = None
    fds: tuple[int, ...] = ()
    device: tuple[int, int] | None = None
    inode: int | None = None
    file_size_bytes: int | None = None
    virtual_size_bytes: int | None = None
    raw_offset_bytes: int = 0
    is_direct: bool | None = None
    is_block_device: bool = False
    below: HostDevice | None = None
    why_not: str = ""
    notes: tuple[str, ...] = ()
    chain: tuple[ChainFile, ...] = ()
    cluster_bytes: int = 0
    subcluster_bytes: int = 0
    overlays: tuple[ChainFile, ...] = ()

    @property
    def followable(self) -> bool:
        """Whether its IO can be followed down to a file or device of this host."""
        return not self.why_not

    @property
    def seen_layers(self) -> tuple[Layer, ...]:
        """QEMU's layers whose work on this disk is visible in this process."""
        if self.model.startswith(("vhost-", "vfio-")):
            return ()
        top = (Layer.QEMU_DEVICE,) if self.model.startswith(_SEEN_MODELS) else ()
        return top if self.model.endswith(_PASSED_ON) else (*top, Layer.QEMU_BLOCK)


def find_disks(plans: Sequence[DiskPlan], blocks: Sequence[QmpBlock], where: ProcessFiles) -> list[Disk]:
    """Return the planned disks with the files that are really open; `blocks` is QMP's word, if asked."""
    pairs = [(plan, _block_of(plan, blocks)) for plan in plans if not _is_other_passthrough(plan, where.roots)]
    matched = [block for _, block in pairs if block]
    disks = [_find_disk(plan, block, where) for plan, block in pairs]
    plugged = [block for block in blocks if block.filename and block not in matched]
    return disks + [_find_disk(_plan_of(block), block, where) for block in plugged]


def _block_of(plan: DiskPlan, blocks: Sequence[QmpBlock]) -> QmpBlock | None:
    for block in blocks:
        words = {block.drive, block.node_name, block.qdev, *block.qdev.split("/")} - {""}
        if words & set(plan.names):
            return block
    return None


def _plan_of(block: QmpBlock) -> DiskPlan:
    """Make a plan for a disk that only QMP knows: it was plugged in while the VM ran."""
    name = block.qdev.rsplit("/", 1)[-1] if block.qdev and "/" not in block.qdev else block.drive
    names = tuple(dict.fromkeys(word for word in (name, block.drive, block.node_name, block.qdev) if word))
    return DiskPlan(names[0] if names else block.filename, names, "", ImageChain())


def _is_other_passthrough(plan: DiskPlan, roots: HostRoots) -> bool:
    """Say whether a passed-through PCI device is something else than storage."""
    if plan.device != "vfio-pci" or not plan.chain.filename:
        return False
    address = plan.chain.filename if plan.chain.filename.count(":") == 2 else f"0000:{plan.chain.filename}"
    try:
        pci_class = (roots.sys / "bus" / "pci" / "devices" / Path(address).name / "class").read_text()
    except OSError:
        return False
    return not pci_class.startswith("0x01")


def _find_disk(plan: DiskPlan, block: QmpBlock | None, where: ProcessFiles) -> Disk:
    chain = _with_block(plan.chain, block)
    disk = Disk(
        name=plan.name,
        names=plan.names,
        model=plan.device,
        format=chain.format,
        protocol=chain.protocol,
        path=chain.filename,
        cache=_cache_name(chain),
        aio=chain.aio or "threads",
        is_read_only=bool(chain.is_read_only),
        node_names=tuple(chain.node_names),
        raw_offset_bytes=chain.raw_offset_bytes,
        virtual_size_bytes=block.virtual_size_bytes if block else None,
        why_not=chain.why_not,
        notes=(*(f"through the filter {name}" for name in chain.filters), *_model_notes(plan.device)),
    )
    if disk.why_not or chain.protocol not in LOCAL_PROTOCOLS:
        return disk
    matches = open_matches(chain.filename, where)
    if not matches:
        return replace(disk, why_not="the process does not have this file open")
    return _with_file(disk, chain, matches, where)


def _model_notes(model: str) -> list[str]:
    if not model.endswith(_PASSED_ON):
        return []
    return ["its commands go to the host's device by ioctl (SG_IO): they are seen in the layer qemu-device alone"]


def _with_block(chain: ImageChain, block: QmpBlock | None) -> ImageChain:
    """Let QMP's word win over the command line's: the image may have changed since the start."""
    if not block or not block.filename or chain.why_not:
        return chain
    now = resolve({"driver": block.format, "file": {"": block.filename}}, {})
    settings = {
        # another image than at the start has other files below it, which its header names
        "backing": chain.backing if now.filename == chain.filename else None,
        "data_file": chain.data_file if now.filename == chain.filename else None,
        "format": chain.format if block.format in {"", *chain.filters} else block.format,
        "protocol": now.protocol,
        "filename": now.filename,
        "why_not": now.why_not,
        "is_read_only": block.is_read_only,
        "is_direct": block.is_direct,
        "is_no_flush": block.is_no_flush,
        "is_writeback": block.is_writeback,
        "node_names": _node_names(block, chain),
    }
    return replace(chain, **settings)  # type: ignore[arg-type]


def _node_names(block: QmpBlock, chain: ImageChain) -> list[str]:
    # "#block123" is a name that QEMU made up: nobody knows it
    named = [block.node_name] if block.node_name and not block.node_name.startswith("#") else []
    return list(dict.fromkeys([*named, *chain.node_names]))


def _cache_name(chain: ImageChain) -> str:
    if chain.is_no_flush:
        return "unsafe"
    if chain.is_direct:
        return "directsync" if chain.is_writeback is False else "none"
    return "writethrough" if chain.is_writeback is False else "writeback"


def _with_file(disk: Disk, chain: ImageChain, matches: list[OpenFile], where: ProcessFiles) -> Disk:
    file = best_match(matches, chain)
    notes = list(disk.notes)
    if not chain.filename.startswith("/") and path_identity(chain.filename, where.process) != file.identity:
        notes.append(f"found as {file.path}: the process has left the directory it was started in")
    if file.is_deleted:
        notes.append("its file has been deleted or replaced: only the process still holds it")
    if chain.is_direct is not None and chain.is_direct != file.is_direct:
        notes.append(f"O_DIRECT is {'on' if file.is_direct else 'off'} on the open file, against its cache mode")
    if disk.model and not disk.is_read_only and not file.is_writable:
        notes.append("its file is open for reading only: the VM may be writing to an overlay (a snapshot)")
    actual = replace(chain, is_direct=file.is_direct)
    form = chain.format or probed_format(where.process, file)
    others = find_chain(file, form, chain, where)
    is_named = chain.filename.startswith("/") and not chain.filename.startswith("/dev/fdset/")
    return replace(
        disk,
        path=chain.filename if is_named else file.path,
        format=form,
        cache=_cache_name(actual),
        fd=file.fd,
        fds=tuple(match.fd for match in matches),
        device=file.device,
        inode=file.inode,
        file_size_bytes=file.size_bytes if not file.is_block_device else block_size(file, where.roots),
        is_direct=file.is_direct,
        is_block_device=file.is_block_device,
        below=device_below(file, where.mounts, where.roots),
        notes=(*notes, *others.notes),
        chain=tuple(others.files),
        cluster_bytes=others.cluster_bytes,
        subcluster_bytes=others.subcluster_bytes,
    )
