"""Files are written beside their place and put there when they are whole, so that none is ever half a file."""

from pathlib import Path

from vio.errors import OutputError


def draft_of(path: Path) -> Path:
    """Return where to write what is to be put at `path`.

    Raises:
        OutputError: what is there is a device, a pipe or a directory, which must not be replaced by a file.
    """
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is no regular file", "give the output another place")
    return path.with_name(f".{path.name}.part")
