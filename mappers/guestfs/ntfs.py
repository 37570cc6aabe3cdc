"""NTFS of a guest: files by libfsntfs; its metadata are files too ($MFT, $LogFile ...)."""

from vio.errors import MapError
from vio.mappers.guestfs.content import Content
from vio.mappers.guestfs.entries import Walked, walk_entries

MAGIC_OFFSET, MAGIC = 3, b"NTFS    "


def walk_ntfs(volume: Content) -> Walked:
    """List the files of a volume and their extents; raise MapError where that fails."""
    import pyfsntfs

    library = pyfsntfs.volume()
    try:
        library.open_file_object(volume)
        return walk_entries(library.get_root_directory())
    except OSError as error:
        raise MapError(f"NTFS of the guest: {str(error).splitlines()[0][:200]}") from error
