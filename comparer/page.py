"""A comparison as one HTML file, with its pictures inside: nothing is fetched from anywhere."""

import base64
import io
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import pyarrow as pa

from vio.comparer.answer import answer_lines, percent
from vio.comparer.compare import Loaded
from vio.comparer.comparison import Cell, Comparison, Figure
from vio.comparer.pictures import cell_figure
from vio.comparer.recordings import is_baseline, repeats_in
from vio.comparer.run import Block, Key, keys_of
from vio.comparer.sides import Units, units_of
from vio.errors import OutputError
from vio.printable import printable
from vio.reporter.units import TimeUnit, bytes_text, time_text, unit_for
from vio.terms import OPS

_SLOWEST = 10
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 78em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #ddd; padding: .2em .7em; text-align: right; }
th:first-child, td:first-child, td.left { text-align: left; }
.slower { color: #b00020; font-weight: bold; } .faster { color: #00695c; font-weight: bold; }
.refused, .undecided { color: #777; } img { max-width: 100%; } .pair { display: flex; flex-wrap: wrap; gap: 2em; }
"""


def write_page(comparison: Comparison, loaded: Loaded, path: Path, *, is_by_class: bool) -> None:
    """Write the page.

    Raises:
        OutputError: it cannot be written.
    """
    text = "\n".join(_lines(comparison, loaded, is_by_class))
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}", "give it another place") from None


def _lines(comparison: Comparison, loaded: Loaded, is_by_class: bool) -> Iterator[str]:
    first, *others = answer_lines(comparison)
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>vio compare</title><style>{_STYLE}</style>"
    yield f"<h1>{_plain(first)}</h1>"
    yield f"<p>base: {_plain(comparison.base.path)}<br>new: {_plain(comparison.new.path)}</p>"
    yield "<ul>" + "".join(f"<li>{_plain(line)}" for line in others) + "</ul>"
    if comparison.doubts:
        rows = [(doubt.what, doubt.base, doubt.new) for doubt in comparison.doubts]
        yield _table(("differs, or is wrong", "base", "new"), rows)
    units = units_of(*loaded.runs, is_by_class=is_by_class)
    for cell in comparison.cells:
        if not cell.refused:
            yield from _cell_lines(cell)
            keys = _key_of(cell, units.base), _key_of(cell, units.new)
            if keys[0] and keys[1]:
                yield _image(cell, (keys[0], keys[1]), loaded, units)
    yield "<h2>The slowest IOs</h2><div class=pair>"
    for name, place in (("base", loaded.base), ("new", loaded.new)):
        yield f"<div><h3>{name}</h3>{_slowest(place)}</div>"
    yield "</div></html>"


def _plain(text: str) -> str:
    return escape(printable(text))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[str] = ()) -> str:
    lines = ["<table><tr>" + "".join(f"<th>{_plain(head)}</th>" for head in heads) + "</tr>"]
    for number, row in enumerate(rows):
        kind = f" class={words[number]}" if words else ""
        lines.append(f"<tr{kind}>" + "".join(f"<td>{_plain(cell)}</td>" for cell in row) + "</tr>")
    return "".join(lines) + "</table>"


def _cell_lines(cell: Cell) -> Iterator[str]:
    unit = unit_for(cell.mean.base)
    yield f"<h2>{_plain(cell.name)}</h2><p>{cell.io_counts[0]:,} and {cell.io_counts[1]:,} IOs</p>"
    heads = (f"latency ({unit.name})", "base", "new", "change", "95 % interval", "")
    rows = [(figure.name, *_cells(figure, unit)) for figure in cell.total]
    yield _table(heads, rows, [figure.word.value for figure in cell.total])
    more = (f"adds to the mean ({unit.name})", "base", "new", "change", "95 % interval", "", "adds")
    parts = [(part.name, *_cells(part.figures[0], unit), f"{part.added_ns / unit.ns:+,.1f}") for part in cell.parts]
    yield _table(more, parts, [part.figures[0].word.value for part in cell.parts])


def _cells(figure: Figure, unit: TimeUnit) -> tuple[str, ...]:
    interval = "-"
    if figure.low is not None and figure.high is not None:
        interval = f"{figure.low / unit.ns:+,.1f} to {figure.high / unit.ns:+,.1f}"
    word = f"{figure.word.value}{': ' + figure.why if figure.why else ''}"
    return unit.text(figure.base), unit.text(figure.new), percent(figure.change), interval, word


def _key_of(cell: Cell, blocks: Sequence[Block]) -> Key | None:
    """Return the key of a cell on one side: by its disk's name, or that of the only disk."""
    keys = [key for key in sorted(keys_of(blocks)) if (key.op, key.class_text) == (cell.op, cell.size)]
    named = [key for key in keys if key.disk == cell.disk]
    return next(iter(named or keys), None)


def _image(cell: Cell, keys: tuple[Key, Key], loaded: Loaded, units: Units) -> str:
    drawn = io.BytesIO()
    cell_figure(cell, units, keys, loaded.runs).savefig(drawn, format="png", dpi=100)
    data = base64.b64encode(drawn.getvalue()).decode()
    return f'<img alt="{_plain(cell.name)}: parts, quantiles, heatmaps" src="data:image/png;base64,{data}">'


def _slowest(path: Path) -> str:
    """Return the slowest IOs of the first recording of a side as a table."""
    if is_baseline(path):
        return "<p>A baseline has no IOs.</p>"
    from vio.reporter.iofile import io_tables

    recording = next(iter(repeats_in(path)), path)
    wanted = ("io", "op", "offset", "bytes", "latency_ns")
    best: pa.Table | None = None
    for table in io_tables(recording, wanted):
        both = pa.concat_tables([best, table]) if best is not None else table
        best = both.sort_by([("latency_ns", "descending")]).slice(0, _SLOWEST)
    rows = [
        (
            str(row["io"]),
            OPS[row["op"]].value,
            f"{row['offset']:#x}",
            bytes_text(row["bytes"]),
            time_text(row["latency_ns"]) if row["latency_ns"] is not None else "no end",
        )
        for row in (best.to_pylist() if best is not None else [])
    ]
    shown = _plain(str(recording))
    return f"<p>{shown}</p>" + _table(("id", "op", "offset", "bytes", "latency"), rows)
