"""One storey of the way from a guest disk to a device, as `vio map` shows it."""

from dataclasses import dataclass
from enum import StrEnum

from vio.mappers.named import NamedRanges
from vio.mappers.totals import Totals


class LevelSort(StrEnum):
    """What a storey is."""

    IMAGE = "image"
    """A guest disk in an image file: qcow2, raw ..."""
    FILE = "file"
    """A host file on its file system."""
    DEVICE = "device"
    """A block device."""


@dataclass(frozen=True, slots=True)
class Level:
    """A storey: `space` is where its own addresses are, `below` the spaces that it is mapped to.

    For an image `space` is the guest disk; `depth` counts backing files down from the image itself. `unit_bytes` is
    the cluster or block by which it is laid out, `totals` and `areas` (metadata, in the space of the file) are None
    where they are not known. `notes` are sentences.
    """

    sort: LevelSort
    space: str
    below: tuple[str, ...]
    name: str
    about: str
    unit_bytes: int = 1
    totals: Totals | None = None
    areas: NamedRanges | None = None
    depth: int = 0
    notes: tuple[str, ...] = ()
