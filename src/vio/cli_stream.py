"""The command line's streams: what is printed, said, asked for and read goes through here."""

import io
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

import typer

from vio.errors import ExitCode, OutputError
from vio.printable import printable
from vio.terminal import close_broken, has_colours, render

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vio.reporter.progress import Progress


def prepare_streams() -> None:
    """Let no character and no closed stream (`vio list >&-`) be an error."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.StringIO())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def report_progress() -> "Callable[[Progress], None] | None":
    """Return what shows a long report's progress on a terminal; nobody wants it in a file."""
    tell = plain_progress()
    if tell is not None:
        from vio.reporter.compiled import before_compiling

        before_compiling(lambda: write("vio: compiling, once for this version: some 20 s\n", sys.stderr))
    return tell


def plain_progress() -> "Callable[[Progress], None] | None":
    """Return the same for a command that may have nothing to join: it does not import what that takes."""
    if not sys.stderr.isatty():
        return None
    return lambda now: write(f"\rvio: {now.io_count:,} IOs, {now.share:.0%} \r", sys.stderr)


def show_drawn(what: "RenderableType") -> None:
    """Print something drawn by rich."""
    show(render(what, sys.stdout))


def show_json(what: object) -> None:
    """Print JSON, indented."""
    show(json.dumps(what, indent=2))


def show(text: str) -> None:
    """Print to standard output; a reader that has gone ends vio as it ends other programs."""
    try:
        write(f"{text}\n", sys.stdout)
    except BrokenPipeError:
        close_broken(sys.stdout)
        raise typer.Exit(ExitCode.PIPE) from None
    except OSError as error:
        close_broken(sys.stdout)
        raise unwritable(error) from None


def unwritable(error: OSError) -> OutputError:
    """Return the error of a standard output that takes no more."""
    return OutputError(f"the output cannot be written: {error.strerror}", "give it another place")


def say(text: str) -> None:
    """Tell the user something that is not the command's result."""
    write(f"vio: {text}\n", sys.stderr)


def complain(text: str) -> None:
    """Tell the user what is wrong, whatever characters are in it."""
    say(printable(text))


def write(text: str, stream: TextIO) -> None:
    """Write to a stream at once."""
    stream.write(text)
    stream.flush()


def is_coloured() -> bool:
    """Tell whether the output goes to a terminal that shows colours."""
    return has_colours(sys.stdout)


def output() -> TextIO:
    """Return what a table that is redrawn in place goes to."""
    return sys.stdout


def is_typed() -> bool:
    """Tell whether somebody types the input."""
    return sys.stdin.isatty()


def read_all() -> str:
    """Read the input to its end."""
    return sys.stdin.read()


def read_line(prompt: str) -> str:
    """Read a line, with a prompt where it is typed; EOFError at the end."""
    if is_typed():
        return input(prompt)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line
