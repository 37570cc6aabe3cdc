"""Describe host, target and disks for the manifest."""

import os
import platform
from collections.abc import Iterable

from vio import __version__
from vio.manifest import ChainInfo, Creator, DiskInfo, HostInfo, TargetInfo
from vio.mappers.space import device_space, file_space
from vio.recorder.aim import Aim
from vio.recorder.disks import Disk
from vio.recorder.host import HostFeatures
from vio.recorder.imagechain import ChainFile
from vio.recorder.target import Target


def describe_creator(host: HostFeatures) -> Creator:
    """Name vio and bpftrace."""
    return Creator("vio", __version__, host.bpftrace.text if host.bpftrace else "")


def describe_host(host: HostFeatures) -> HostInfo:
    """Name the machine."""
    return HostInfo(platform.node(), host.kernel_release, host.machine, host.cpu_count)


def describe_target(aim: Aim, target: Target) -> TargetInfo:
    """Describe the target as it is now; `target` may have been looked at again since the aim was taken."""
    recorded = {disk.name for disk in aim.disks}
    binary = aim.subject.binary
    return TargetInfo(
        pid=target.pid,
        kind=str(target.kind),
        name=target.name,
        exe=target.exe,
        version=target.version,
        build_id=binary.build_id if binary else "",
        disks=tuple(describe_disk(disk, disk.name in recorded) for disk in target.disks),
        threads={str(thread.tid): thread.role or thread.comm for thread in target.threads},
        command=aim.command.words if aim.command else (),
        notes=target.notes,
    )


def describe_disk(disk: Disk, is_recorded: bool) -> DiskInfo:
    """Describe one disk."""
    return DiskInfo(
        name=disk.name,
        model=disk.model,
        format=disk.format,
        path=disk.path,
        cache=disk.cache,
        aio=disk.aio,
        space=space_of(disk),
        fds=tuple(fd for fd in disk.fds if fd >= 0),
        virtual_size_bytes=disk.virtual_size_bytes,
        is_read_only=disk.is_read_only,
        is_recorded=is_recorded,
        why_not=disk.why_not,
        notes=disk.notes,
        chain=tuple(_describe_chain_file(file) for file in (*disk.chain, *disk.overlays)),
        cluster_bytes=disk.cluster_bytes,
        subcluster_bytes=disk.subcluster_bytes,
    )


def _describe_chain_file(file: ChainFile) -> ChainInfo:
    dev = os.makedev(*file.device)
    space = device_space(dev) if file.is_block_device else file_space(dev, file.inode)
    clusters = file.cluster_bytes, file.subcluster_bytes
    return ChainInfo(file.role, file.path, file.format, space, file.fds, file.is_direct, *clusters)


def space_of(disk: Disk) -> str:
    """Name the address space of a disk's image; "" where it has none on this host."""
    if disk.device is None:
        return ""
    dev = os.makedev(*disk.device)
    return device_space(dev) if disk.is_block_device else file_space(dev, disk.inode or 0)


def has_all_files(target: Target, names: Iterable[str]) -> bool:
    """Say whether the process has all these disks' files open by now."""
    by_name = {disk.name: disk for disk in target.disks}
    return all(name in by_name and by_name[name].fds for name in names)
