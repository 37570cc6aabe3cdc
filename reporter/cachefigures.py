"""How much went through the page cache, what came of it, and what could not be linked and why."""

from dataclasses import dataclass, field

from vio.reporter.histogram import Distribution


@dataclass(slots=True)
class WritebackFigures:
    """Bytes through the page cache, in a whole recording.

    `cached` bytes were written to it by IOs: of these some were `linked` (written back by a later bio), written back in
    the IO's own call (`own`), `overwritten` or `dropped` (discarded, zeroed) first, `left` there, or not followed
    (`lost`: no map tells of the image, or too much was dirty).

    `device` bytes were given to the devices to write, by bios of no IO in flight or of one that wrote the cache back:
    of these some were `linked`, `own`, of QEMU's writes beside its IOs (`qemu`), of an image but `unwritten` in the
    recording, at an address that the maps of start and stop give to two places (`disagreeing`), or at one that none
    gives to an image (`unmapped`). `caused` are those linked bytes that were queued in the call of an IO, as a flush.

    `after_end` are the times from an IO's end to the completion of a bio that it is linked to.
    """

    cached_bytes: int = 0
    linked_bytes: int = 0
    own_bytes: int = 0
    overwritten_bytes: int = 0
    dropped_bytes: int = 0
    left_bytes: int = 0
    left_ios: int = 0
    lost_bytes: int = 0
    device_bytes: int = 0
    bios: int = 0
    linked_bios: int = 0
    caused_bytes: int = 0
    qemu_bytes: int = 0
    unwritten_bytes: int = 0
    disagreeing_bytes: int = 0
    unmapped_bytes: int = 0
    after_end: Distribution = field(default_factory=Distribution)

    @property
    def written_back_share(self) -> float | None:
        """Share of the bytes written to the cache that went to a device within the recording; None of nothing."""
        return (self.linked_bytes + self.own_bytes) / self.cached_bytes if self.cached_bytes else None

    @property
    def image_bytes(self) -> int:
        """Bytes that the devices were given to write at places of the images."""
        return self.device_bytes - self.unmapped_bytes

    @property
    def linked_share(self) -> float | None:
        """Share of the bytes that went to the images' places that is linked to the IOs that wrote them."""
        return (self.linked_bytes + self.own_bytes) / self.image_bytes if self.image_bytes else None
