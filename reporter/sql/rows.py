"""A query's result as text, some rows at a time: aligned columns, CSV, or JSON lines."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from enum import StrEnum

import duckdb

from vio.printable import printable
from vio.reporter.sql.faults import fault_of

Row = tuple[object, ...]
_AT_ONCE = 2000
_NUMBERS = ("INT", "DOUBLE", "FLOAT", "DECIMAL", "BIGNUM")


class Form(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Head:
    """The columns of a result, and which hold numbers."""

    names: tuple[str, ...]
    is_number: tuple[bool, ...]


def written(result: duckdb.DuckDBPyConnection, form: Form) -> Iterator[str]:
    """Write a result in pieces of many lines, none with a line end at its end; memory is that of one piece.

    A table is as wide as its first rows need: a wider cell further down pushes its line out.
    """
    description = result.description or []
    types = [str(column[1]).upper() for column in description]
    head = Head(
        tuple(printable(str(column[0])) for column in description),
        tuple(any(word in kind for word in _NUMBERS) and "[" not in kind for kind in types),
    )
    write = _WRITERS[form](head)
    is_first = True
    while (rows := _next_rows(result)) or is_first:
        text = write(rows, is_first)
        if text:
            yield text
        is_first = False


def _next_rows(result: duckdb.DuckDBPyConnection) -> list[Row]:
    """Take some rows; a query may fail at any of them."""
    try:
        return result.fetchmany(_AT_ONCE)
    except duckdb.Error as error:
        raise fault_of(error) from None


def _table(head: Head) -> Callable[[Sequence[Row], bool], str]:
    widths: list[int] = []

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(cells, widths, head.is_number, strict=True)
        )
        return "  ".join(padded).rstrip()

    def write(rows: Sequence[Row], is_first: bool) -> str:
        cells = [[_cell(value) for value in row] for row in rows]
        if is_first:
            widths[:] = [max(map(len, column)) for column in zip(head.names, *cells, strict=True)]
        heads = [line(head.names)] if is_first else []
        return "\n".join([*heads, *map(line, cells)])

    return write


def _csv(head: Head) -> Callable[[Sequence[Row], bool], str]:
    def write(rows: Sequence[Row], is_first: bool) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if is_first:
            writer.writerow(head.names)
        writer.writerows([[_plain(value) for value in row] for row in rows])
        return text.getvalue().removesuffix("\n")

    return write


def _json(head: Head) -> Callable[[Sequence[Row], bool], str]:
    def write(rows: Sequence[Row], is_first: bool) -> str:
        return "\n".join(json.dumps(dict(zip(head.names, map(_value, row), strict=True))) for row in rows)

    return write


_WRITERS = {Form.TABLE: _table, Form.CSV: _csv, Form.JSON: _json}


def _cell(value: object) -> str:
    """Show a value in a table: a fraction to 3 places, or 4 digits where it is less than 1; null is blank."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:.3f}".rstrip("0").rstrip(".")
    return _plain(value)


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict | tuple):
        return printable(json.dumps(_value(value), ensure_ascii=False))
    return printable(str(value))


def _value(value: object) -> object:
    """Return what JSON can hold: what is not finite is null, times and all else are text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _value(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, date | time) else str(value)
