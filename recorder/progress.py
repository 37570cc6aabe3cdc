"""What a recording tells while it runs: an object that the work reports to, so that the work never prints."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from vio.layer import Layer
from vio.printable import printable

_PLAIN_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Status:
    """How it goes: `by_layer` counts the events stored so far, `rows` all that were received."""

    elapsed_s: float
    rows: int
    lost: int
    by_layer: Mapping[Layer, int] = field(default_factory=dict)


class Progress(Protocol):
    """Listens to a recording."""

    def note(self, text: str) -> None:
        """Hear that something is not as it should be."""

    def attaching(self, what: str, points: int) -> None:
        """Hear that bpftrace was started; it takes some seconds."""

    def attached(self, what: str) -> None:
        """Hear that all probes are attached: from now on nothing is missed."""

    def status(self, status: Status) -> None:
        """Hear how it goes, about once a second."""

    def stopping(self, why: str) -> None:
        """Hear that it ends."""

    def close(self) -> None:
        """Hear that it is over, well or not."""


class NullProgress:
    """Says nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def attaching(self, what: str, points: int) -> None:
        """Say nothing."""

    def attached(self, what: str) -> None:
        """Say nothing."""

    def status(self, status: Status) -> None:
        """Say nothing."""

    def stopping(self, why: str) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Say nothing."""


class PlainProgress:
    """Whole lines, for a stream that is no terminal; rates every ten seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._before = Status(0.0, 0, 0)

    def note(self, text: str) -> None:
        """Say so."""
        self._say(f"note: {text}")

    def attaching(self, what: str, points: int) -> None:
        """Say so."""
        self._say(f"attaching {points} probes to {what}")

    def attached(self, what: str) -> None:
        """Say so."""
        self._say(f"recording {what}; Ctrl-C ends it")

    def status(self, status: Status) -> None:
        """Say the rates since the last time."""
        if status.elapsed_s - self._before.elapsed_s < _PLAIN_EVERY_S:
            return
        seconds = status.elapsed_s - self._before.elapsed_s
        rate = (status.rows - self._before.rows) / seconds
        self._say(f"{status.elapsed_s:.0f} s, {status.rows} events ({rate:.0f}/s), {status.lost} lost")
        self._before = status

    def stopping(self, why: str) -> None:
        """Say so."""
        self._say(f"ending: {why}")

    def close(self) -> None:
        """Have nothing to close."""

    def _say(self, text: str) -> None:
        self._stream.write(f"vio: {printable(text)}\n")
        self._stream.flush()


class TerminalProgress:
    """A small table that stays in its place."""

    def __init__(self, stream: TextIO) -> None:
        self._plain = PlainProgress(stream)
        self._live = Live(console=Console(file=stream), auto_refresh=False, transient=True)
        self._before = Status(0.0, 0, 0)
        self._began_s = 0.0

    def note(self, text: str) -> None:
        """Say so."""
        self._plain.note(text)

    def attaching(self, what: str, points: int) -> None:
        """Say so."""
        self._plain.attaching(what, points)

    def attached(self, what: str) -> None:
        """Say so, and begin to draw."""
        self._plain.attached(what)
        self._began_s = time.monotonic()
        self._live.start()

    def status(self, status: Status) -> None:
        """Draw the rates."""
        self._live.update(status_table(self._before, status), refresh=True)
        if status.by_layer != self._before.by_layer or not status.rows:
            self._before = status

    def stopping(self, why: str) -> None:
        """Stop drawing."""
        self.close()
        self._plain.stopping(why)

    def close(self) -> None:
        """Give the terminal back."""
        self._live.stop()


def progress_for(stream: TextIO) -> Progress:
    """Choose by what the stream is."""
    return TerminalProgress(stream) if stream.isatty() else PlainProgress(stream)


def status_table(before: Status, now: Status) -> Table:
    """Draw one row for each layer: events so far and a second."""
    seconds = max(now.elapsed_s - before.elapsed_s, 1e-9)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("layer", "events", "a second"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for layer in Layer:
        count = now.by_layer.get(layer, 0)
        if count:
            rate = (count - before.by_layer.get(layer, 0)) / seconds
            table.add_row(str(layer), f"{count:,}", f"{rate:,.0f}")
    table.add_row("all", f"{now.rows:,}", f"{now.lost:,} lost" if now.lost else "none lost")
    table.add_row(f"{now.elapsed_s:.0f} s", "", "")
    return table
