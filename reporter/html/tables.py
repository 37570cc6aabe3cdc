"""The tables of the page: those of the text, cell for cell."""

from collections.abc import Iterator
from dataclasses import dataclass

from vio.reporter.grid import Grid, Style
from vio.reporter.header import count_grid, count_notes, loss_lines
from vio.reporter.result import Report
from vio.reporter.text import join_grid, join_notes, layer_grid, of_which_grid
from vio.reporter.units import unit_for
from vio.reporter.waittext import wait_grid

_PLAIN = Style()


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell, and whether it leans to the left."""

    text: str
    is_left: bool


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under their heads; lesser rows stand back."""

    caption: str
    heads: tuple[Cell, ...]
    rows: tuple[tuple[bool, tuple[Cell, ...]], ...]


def table_of(caption: str, grid: Grid) -> Table:
    """Take a table of the text over."""

    def cells(texts: Iterator[str]) -> tuple[Cell, ...]:
        return tuple(Cell(text, number in grid.left) for number, text in enumerate(texts))

    return Table(caption, cells(iter(grid.heads)), tuple((lesser, cells(iter(row))) for row, lesser in grid.rows))


def count_table(report: Report) -> Table:
    """IOs by operation and disk."""
    return table_of("IOs by operation", count_grid(report))


def layer_tables(report: Report) -> Iterator[Table]:
    """Own times of the layers; of which for images' tables; waits. Nothing where no IO ended."""
    latency = report.summary.total().latency
    if not latency.count:
        return
    yield table_of("Own time of each layer: while nothing below it works", layer_grid(report))
    of_which = of_which_grid(report)
    if of_which.rows:
        yield table_of("Of which: while nothing was under way for the guest's own data", of_which)
    if report.waits:
        waits = wait_grid(report.waits, report.summary.total_ns, unit_for(latency.quantile_ns(0.5)))
        if waits.rows:
            yield table_of("Of the own times: waiting of the threads whose turn it was", waits)


def join_table(report: Report) -> Table:
    """How well the layers were joined."""
    return table_of("Links from layer to layer, and how many were found", join_grid(report))


def trust_notes(report: Report) -> list[str]:
    """What keeps IOs from being whole, and what no IO owns."""
    return [*count_notes(report), *join_notes(report)]


def loss_notes(report: Report) -> list[str]:
    """What was lost, and whether the recording was cut."""
    return list(loss_lines(report.recorded, _PLAIN))
