"""Layers and operations: the stack that an IO goes down, in order."""

from enum import StrEnum


class Layer(StrEnum):
    """One storey of the stack, top to bottom."""

    QEMU_DEVICE = "qemu-device"
    QEMU_BLOCK = "qemu-block"
    QEMU_AIO = "qemu-aio"
    VFS = "vfs"
    FS = "fs"
    BLOCK = "block"
    DEVICE = "device"

    @property
    def depth(self) -> int:
        """0 for the top layer, growing downwards."""
        return list(Layer).index(self)


class Op(StrEnum):
    """What an IO does."""

    READ = "read"
    WRITE = "write"
    FLUSH = "flush"
    DISCARD = "discard"
    WRITE_ZEROES = "write-zeroes"
    OTHER = "other"


class Phase(StrEnum):
    """When, in the life of a layer's span, its own time passes."""

    DOWN = "down"
    BETWEEN = "between"
    UP = "up"


class Stage(StrEnum):
    """A layer at its place in the stack: below a loop device the host's layers come once more."""

    QEMU_DEVICE = "qemu-device"
    QEMU_BLOCK = "qemu-block"
    QEMU_AIO = "qemu-aio"
    VFS = "vfs"
    FS = "fs"
    BLOCK = "block"
    DEVICE = "device"
    LOOP_FS = "fs/loop"
    LOOP_BLOCK = "block/loop"
    LOOP_DEVICE = "device/loop"

    @property
    def layer(self) -> Layer:
        """The layer of this stage."""
        return Layer(self.value.removesuffix("/loop"))

    @property
    def column(self) -> str:
        """The stage's name as a part of column names."""
        return self.value.replace("-", "_").replace("/", "_")
