"""TOML files of the user's, as frozen dataclasses: what is not known is refused, with the nearest name that is."""

import dataclasses
import difflib
import tomllib
import types
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar, Union, get_args, get_origin, get_type_hints

from vio.errors import RecordingError, UsageError
from vio.jsondata import from_data
from vio.printable import printable

T = TypeVar("T")
_MAX_BYTES = 1 << 20


def read_toml(path: Path) -> dict[str, object]:
    """Read a TOML file as plain tables.

    Raises:
        UsageError: it is not there, cannot be read, is no TOML, or is too long to be meant.
    """
    shown = printable(str(path))
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise UsageError(f"{shown} is longer than {_MAX_BYTES} bytes", "is this the file that was meant?")
        return tomllib.loads(text.decode("utf-8"))
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror}", "give the path of a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{shown} is no TOML: {printable(str(error))}", "write it as docs/benching.md says") from None


def from_tables(kind: type[T], data: object, place: str) -> T:
    """Build a dataclass from parsed TOML, where a field `warm_up` is the key `warm-up`; `place` is for messages.

    Raises:
        UsageError: a key is unknown, missing, or its value is of another type; says where.
    """
    try:
        return from_data(kind, _by_field(kind, data, place), place)
    except RecordingError as error:
        raise UsageError(printable(error.message), "write it as docs/benching.md says") from None


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name `name` may have been meant for, and which there are."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    listed = f"known: {', '.join(names)}" if names else "there are none"
    return f"is {close[0]} meant? {listed}" if close else listed


def _by_field(kind: object, data: object, place: str) -> object:
    """Return the tables of a dataclass with its fields' names as keys, refusing what it has not."""
    if get_origin(kind) in {Union, types.UnionType}:
        kind = next(option for option in get_args(kind) if option is not type(None))
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(data, dict)):
        return data
    hints = {name.replace("_", "-"): hint for name, hint in get_type_hints(kind).items()}
    found = {}
    for key, value in data.items():
        if key not in hints:
            raise UsageError(f"{place}: {printable(str(key))} is not known", nearest(str(key), hints))
        found[key.replace("-", "_")] = _by_field(hints[key], value, f"{place}.{key}")
    return found
