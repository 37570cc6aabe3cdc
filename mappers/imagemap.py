"""A chain of images as maps: the guest disk to each file that holds a part of it, and what each image holds."""

from dataclasses import dataclass

from vio.errors import MapError
from vio.mappers.extent import RangeMap, Rows
from vio.mappers.images import ImageFormat, OpenImage
from vio.mappers.kind import Ints, Kind, base_of
from vio.mappers.level import Level, LevelSort
from vio.mappers.openfile import file_size, name_of_file, space_of_file
from vio.mappers.qcow2 import layout as fmt
from vio.mappers.qcow2.areas import metadata_areas
from vio.mappers.qcow2.header import Qcow2Header
from vio.mappers.qcow2.walk import map_qcow2, walk
from vio.mappers.qemuimg import map_by_qemu_img
from vio.mappers.raw import map_raw
from vio.mappers.totals import Totals
from vio.printable import printable
from vio.quantity import size_text

RAW_UNIT = 4096


@dataclass(frozen=True, slots=True)
class Visible:
    """The guest ranges in which an image shows through all that lie upon it: None is everywhere."""

    start: Ints | None = None
    end: Ints | None = None

    def of(self, ranges: RangeMap) -> RangeMap:
        """Keep what shows of a map."""
        if self.start is None or self.end is None:
            return ranges
        pieces = ranges.lookup(self.start, self.end - self.start)
        rows = Rows(pieces.start, pieces.length, pieces.target, pieces.target_length, pieces.kind)
        shown = rows.take(base_of(rows.kind) != Kind.UNMAPPED)
        return RangeMap(ranges.source_space, ranges.target_space, *shown).coalesce()

    @staticmethod
    def below(shown: RangeMap) -> "Visible":
        """Tell what shows through a map: where it says that the backing file is to be read."""
        holes = base_of(shown.kind) == Kind.UNALLOCATED
        return Visible(shown.start[holes], shown.end[holes])


def map_image(image: OpenImage, guest: str, within: tuple[int, int] | None = None) -> RangeMap:
    """Map the guest disk of one image to the file that holds its data: all of it, or what is `within` two offsets.

    Raises:
        MapError: The image cannot be believed, its format is not known, or its data file is not open.
    """
    if image.data_fd is None:
        raise MapError("where its data lies is not known")
    if image.format == ImageFormat.RAW:
        whole = map_raw(file_size(image.fd), guest, space_of_file(image.fd))
        return whole.slice(*within) if within else whole
    if image.header is not None:
        return map_qcow2(image.fd, guest, space_of_file(image.data_fd), image.header, within)
    if image.format not in list(ImageFormat):
        raise MapError(f"the format {printable(image.format)} is not mapped")
    if image.format == ImageFormat.VMDK and not image.is_trusted:
        raise MapError("qemu-img would open the files that a vmdk image names", "--follow allows it, if you trust it")
    if not isinstance(image.fd, int):
        raise MapError(f"a {image.format} image inside a volume is not mapped: qemu-img cannot open it there")
    whole = map_by_qemu_img(image.fd, image.format, guest, space_of_file(image.fd))
    return whole.slice(*within) if within else whole


def image_level(image: OpenImage, guest: str, ranges: RangeMap | None = None) -> Level:
    """Describe an image; without its map the tables are walked for the totals, and nothing of them kept."""
    header, size = image.header, disk_size(image, ranges)
    notes, areas = list(image.notes), None
    batches = [ranges.rows] if ranges is not None else walk(image.fd, header) if header else []
    if header:
        notes += header.conditions
        areas = metadata_areas(image.fd, header, space_of_file(image.fd))
    elif image.format != ImageFormat.RAW:
        is_told = ranges is None or not (base_of(ranges.kind) == Kind.UNMAPPED).any()
        notes.append("mapped by asking qemu-img map" + ("" if is_told else ", which does not tell all its addresses"))
    return Level(
        LevelSort.IMAGE,
        guest,
        () if image.data_fd is None else (space_of_file(image.data_fd),),
        printable(name_of_file(image.fd)),
        _about(image, size),
        header.cluster_size if header else RAW_UNIT,
        Totals.of(batches, size),
        areas,
        image.depth,
        tuple(notes),
    )


def disk_size(image: OpenImage, ranges: RangeMap | None = None) -> int:
    """Tell the size of an image's guest disk in bytes; of formats that qemu-img reads, its map tells."""
    if image.header:
        return image.header.size
    if image.format != ImageFormat.RAW:
        known = ranges if ranges is not None else map_image(image, "")
        return int(known.end[-1]) if len(known) else 0
    return file_size(image.fd)


def _about(image: OpenImage, size: int) -> str:
    words = [f"{image.format} of {size_text(size)}"]
    if image.header:
        words += _qcow2_words(image.header)
    return ", ".join(words)


def _qcow2_words(header: Qcow2Header) -> list[str]:
    words = [f"version {header.version}", f"clusters of {size_text(header.cluster_size)}"]
    if header.has_extended_l2:
        words.append(f"subclusters of {size_text(header.cluster_size // fmt.SUBCLUSTERS)}")
    if header.compression_type:
        words.append("compression zstd")
    if header.crypt_method != fmt.CryptMethod.NONE:
        words.append(f"encrypted ({header.crypt_method.name})")
    if header.has_data_file:
        words.append("external data file")
    if header.nb_snapshots:
        words.append(f"{header.nb_snapshots} internal snapshots")
    return words if header.is_active else [*words, "as it was at a snapshot"]
