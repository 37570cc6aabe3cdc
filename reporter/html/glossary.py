"""What the layers are, for somebody who sees their names for the first time."""

from vio.layer import Stage
from vio.reporter.result import Report

_WORDS = {
    Stage.QEMU_DEVICE: "QEMU's virtual disk: takes requests from the guest's queue, tells it when they are done",
    Stage.QEMU_BLOCK: "QEMU's block layer: throttling, the image's format (qcow2 ...) and its tables, copy-on-write",
    Stage.QEMU_AIO: "QEMU's way to the kernel: asynchronous requests (native, io_uring) or a worker thread",
    Stage.VFS: "the host's system call, or what the kernel does with the asynchronous request",
    Stage.FS: "the host's file system on which the image lies: its locks, its mapping, its journal",
    Stage.BLOCK: "the host's block layer: queues, merging, the IO scheduler, mapped devices",
    Stage.DEVICE: "the device and its driver: from the issued request to its completion",
    Stage.LOOP_FS: "the file system below a loop device",
    Stage.LOOP_BLOCK: "the block layer below a loop device",
    Stage.LOOP_DEVICE: "the device below a loop device",
}


def glossary(report: Report) -> list[tuple[str, str]]:
    """Describe the layers that some IO reached, from the top, and the time that none has."""
    known = [(stage.value, _WORDS[stage]) for stage in report.summary.stages]
    return [*known, ("unattributed", "time of an IO that no observed layer claims")]
