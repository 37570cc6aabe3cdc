"""Frozen dataclasses to JSON and back, with every fault named by its place in the file."""

import dataclasses
import types
from enum import StrEnum
from typing import TypeVar, Union, get_args, get_origin, get_type_hints

from vio.errors import RecordingError

T = TypeVar("T")
_TYPE_NAMES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def to_data(value: object) -> object:
    """Turn a dataclass, and all that it holds, into what json.dump takes."""
    if dataclasses.is_dataclass(value):
        return {field.name: to_data(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [to_data(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_data(item) for key, item in value.items()}
    return str(value) if isinstance(value, StrEnum) else value


def from_data(kind: type[T], data: object, place: str) -> T:
    """Build a dataclass from parsed JSON; unknown keys are left out, they are of a newer minor version.

    Raises:
        RecordingError: something is missing or of another type; says where.
    """
    return _build(kind, data, place)  # type: ignore[return-value]


def _build(kind: object, data: object, place: str) -> object:
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        options = [option for option in get_args(kind) if option is not type(None)]
        return None if data is None else _build(options[0], data, place)
    if origin is tuple:
        return _build_tuple(get_args(kind), data, place)
    if origin is dict:
        checked = _expect(dict, data, place)
        return {str(key): _build(get_args(kind)[1], item, f"{place}.{key}") for key, item in checked.items()}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _build_object(kind, data, place)
    return _build_plain(kind, data, place)


def _build_object(kind: type, data: object, place: str) -> object:
    checked = _expect(dict, data, place)
    hints = get_type_hints(kind)
    values = {}
    for field in dataclasses.fields(kind):
        if field.name in checked:
            values[field.name] = _build(hints[field.name], checked[field.name], f"{place}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise RecordingError(f"{place} lacks {field.name}")
    return kind(**values)


def _build_tuple(items: tuple[object, ...], data: object, place: str) -> tuple[object, ...]:
    checked = _expect(list, data, place)
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_build(items[0], item, f"{place}[{at}]") for at, item in enumerate(checked))
    if len(items) != len(checked):
        raise RecordingError(f"{place}: {len(items)} values are needed, here are {len(checked)}")
    pairs = zip(items, checked, strict=True)
    return tuple(_build(kind, item, f"{place}[{at}]") for at, (kind, item) in enumerate(pairs))


def _build_plain(kind: object, data: object, place: str) -> object:
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        try:
            return kind(_expect(str, data, place))
        except ValueError:
            raise RecordingError(f"{place}: {data!r} is not one of {', '.join(kind)}") from None
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    return _expect(kind, data, place) if isinstance(kind, type) else data


def _expect(kind: type[T], data: object, place: str) -> T:
    if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise RecordingError(f"{place}: {_TYPE_NAMES.get(kind, kind.__name__)} is needed, not {str(data)[:60]!r}")
    return data
