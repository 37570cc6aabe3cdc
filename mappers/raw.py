"""Raw images: the guest disk is the file, byte for byte."""

from vio.errors import MapError
from vio.mappers.extent import RangeMap


def map_raw(size: int, source_space: str, target_space: str, offset: int = 0) -> RangeMap:
    """Map `size` bytes one to one, starting at byte `offset` of the target."""
    if size < 0 or offset < 0:
        raise MapError(f"{target_space}: size {size} or offset {offset} is negative")
    if size == 0:
        return RangeMap.of(source_space, target_space, [], [], [])
    return RangeMap.of(source_space, target_space, 0, size, offset)
