"""What a terminal gets and what a pipe gets: no control codes where nobody would see the colours."""

import io
import os
import shutil
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType

# a pipe has no width: a table takes what it needs, so that a line is a row
_NO_LIMIT = 100_000


def has_colours(stream: TextIO) -> bool:
    """Tell whether control codes for colours may be written to `stream`."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def render(what: "RenderableType", stream: TextIO) -> str:
    """Return the text of something drawn by rich, as `stream` should get it."""
    from rich.console import Console

    is_terminal = stream.isatty()
    drawn = io.StringIO()
    console = Console(
        file=drawn,
        force_terminal=is_terminal,
        width=shutil.get_terminal_size().columns if is_terminal else _NO_LIMIT,
        color_system="auto" if has_colours(stream) else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    console.print(what)
    return "\n".join(line.rstrip() for line in drawn.getvalue().splitlines())


def close_broken(stream: TextIO) -> None:
    """Point a stream that takes no more text to nowhere, so that Python does not complain of it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
