"""What the schema says in plain Python: for those who read a recording without Arrow, which takes long to import."""

from vio.layer import Op, Phase, Stage

# Major: old readers cannot read it. Minor: a column was added.
MAJOR = 1
MINOR = 4

OPS = tuple(Op)
"""The column `op` is a number in here."""

LACKS = {
    1: "its end",
    2: "the end of a block-layer call",
    4: "what the kernel did with an asynchronous request",
    8: "the end of a system call or asynchronous request",
    16: "the end of a file system's work",
    32: "the request of a bio",
    64: "the completion of a request",
    128: "the work below a loop device",
    256: "its entry into the block layer",
    512: "the bio of a direct IO",
}

# A stage's first stamp that is there is its begin, its last that is there is its end.
HULLS: dict[Stage, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Stage.QEMU_DEVICE: (("accept",), ("notify", "push")),
    Stage.QEMU_BLOCK: (("block_begin",), ("block_end",)),
    Stage.QEMU_AIO: (("aio_submit",), ("aio_end",)),
    Stage.VFS: (("vfs_begin",), ("vfs_end",)),
    Stage.FS: (("fs_begin",), ("fs_end",)),
    Stage.BLOCK: (("bio_queue",), ("rq_complete",)),
    Stage.DEVICE: (("rq_issue",), ("rq_complete",)),
    Stage.LOOP_FS: (("loop_fs_begin",), ("loop_fs_end",)),
    Stage.LOOP_BLOCK: (("loop_bio_queue",), ("loop_rq_complete",)),
    Stage.LOOP_DEVICE: (("loop_rq_issue",), ("loop_rq_complete",)),
}


def time_column(stage: Stage, phase: Phase) -> str:
    """Name the column with the time that an IO spent in one stage and phase."""
    return f"{stage.column}_{phase}_ns"
