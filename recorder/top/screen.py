"""A page that is shown again and again: redrawn in place on a terminal, printed as text elsewhere."""

from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, RenderableType
from rich.live import Live

from vio.terminal import has_colours, render


class Screen:
    """`show` prints text to what is no terminal. Leaving the context leaves the last page on a terminal."""

    def __init__(self, stream: TextIO, show: Callable[[str], None]) -> None:
        self._stream = stream
        self._show = show
        self._live: Live | None = None
        self._pages = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def page(self, what: RenderableType) -> None:
        """Show a page instead of the last one."""
        if not self._stream.isatty():
            gap = "\n" if self._pages else ""
            self._pages += 1
            self._show(gap + render(what, self._stream))
            return
        if self._live is None:
            console = Console(
                file=self._stream,
                color_system="auto" if has_colours(self._stream) else None,
                highlight=False,
                markup=False,
                emoji=False,
            )
            self._live = Live(console=console, auto_refresh=False)
            self._live.start()
        self._live.update(what, refresh=True)
