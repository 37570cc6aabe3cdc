"""Write docs/vio.1 from the command line's own parser: `make docs`; with `--check` say whether it is stale."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, cast

import typer

from vio.cli import app
from vio.errors import ExitCode

PAGE = Path(__file__).parent.parent / "docs" / "vio.1"
_LEFT_OUT = {"help", "install_completion", "show_completion"}
_SEE = "vio-trace's own pages are in its docs directory: docs/top.md, docs/exit-codes.md, docs/recording-format.md."
_EXITS = {
    ExitCode.OK: "it did what it was asked to; Ctrl-C is the normal way to end record and top",
    ExitCode.FAILED: "the command after `--` failed, or none of the reasons below",
    ExitCode.USAGE: "the words of the command are wrong",
    ExitCode.HOST: "the host lacks what is needed: vio doctor says what",
    ExitCode.TARGET: "no such VM or process, or one that cannot be followed",
    ExitCode.RECORDING: "the recording is absent, damaged, empty, or of a newer schema",
    ExitCode.OUTPUT: "the output exists already, or cannot be written",
    ExitCode.LOAD: "a load of vio bench failed: what was recorded is kept",
    ExitCode.BUG: "a bug in vio",
    ExitCode.INTERRUPTED: "interrupted before there was anything to keep",
    ExitCode.PIPE: "the reader of a pipe went away",
}
_ENVIRONMENT = {
    "NO_COLOR": "if set, no colours are written",
    "VIO_DEBUG": "if set, a bug in vio prints its traceback",
}


class _Parameter(Protocol):
    """What is asked of click's parameters: typer brings its own click in some versions, and the package in others."""

    name: str
    metavar: str | None
    help: str | None
    param_type_name: str

    def get_help_record(self, ctx: object) -> tuple[str, str] | None: ...


class _Command(Protocol):
    help: str | None
    hidden: bool
    params: list[_Parameter]
    context_class: Callable[["_Command"], object]


class _Group(_Command, Protocol):
    commands: dict[str, _Command]


def page() -> str:
    """Return the page's text, in man(7)'s macros."""
    group = cast(_Group, typer.main.get_command(app))
    about, *more = _paragraphs(group.help or "")
    lines = ['.TH VIO 1 "" "vio" "User Commands"', ".SH NAME", f"vio \\- {_plain(about).rstrip('.')}"]
    lines += [".SH SYNOPSIS", ".B vio", ".I COMMAND", "[OPTIONS]", ".SH DESCRIPTION"]
    lines += [line for text in more for line in _paragraph(text)]
    lines += _options(group)
    lines.append(".SH COMMANDS")
    for name in sorted(_commands(group)):
        lines += _command(name, _commands(group)[name])
    lines += [".SH EXIT STATUS", *_terms({str(int(code)): text for code, text in _EXITS.items()})]
    lines += [".SH ENVIRONMENT", *_terms(_ENVIRONMENT), ".SH SEE ALSO", _plain(_SEE)]
    return "\n".join(lines) + "\n"


def _commands(group: _Group) -> dict[str, _Command]:
    return {name: command for name, command in group.commands.items() if not command.hidden}


def _command(name: str, command: _Command) -> Iterator[str]:
    words = [param for param in command.params if param.param_type_name == "argument"]
    yield f".SS vio {_plain(name)} " + _plain(" ".join([*(param.metavar or "" for param in words), "[OPTIONS]"]))
    for text in _paragraphs(command.help or ""):
        yield from _paragraph(text)
    for param in words:
        yield from (".TP", f".I {_plain(param.metavar or param.name)}", _plain(param.help or ""))
    yield from _options(command)


def _options(command: _Command) -> Iterator[str]:
    context = command.context_class(command)
    for param in command.params:
        # what its own help shows: spelling and meaning; nothing of a hidden one
        record = param.get_help_record(context) if param.param_type_name == "option" else None
        if record and param.name not in _LEFT_OUT:
            yield from (".TP", f".B {_plain(record[0])}", _plain(" ".join(record[1].split())))


def _paragraphs(text: str) -> list[str]:
    return [part for part in re.split(r"\n\s*\n", text.strip()) if part.strip()]


def _paragraph(text: str) -> Iterator[str]:
    """Yield a paragraph of a help text; one that begins with \\b is shown as it is, such as examples."""
    if not text.startswith("\b"):
        yield from (".PP", _plain(" ".join(text.split())))
        return
    head, *examples = text.removeprefix("\b").strip("\n").splitlines()
    yield from (".PP", _plain(head), ".PP", ".nf", ".RS 4", *(_plain(line.strip()) for line in examples), ".RE", ".fi")


def _terms(terms: dict[str, str]) -> Iterator[str]:
    for term, meaning in terms.items():
        yield from (".TP", f".B {_plain(term)}", _plain(meaning))


def _plain(text: str) -> str:
    """Return text as roff prints it: backslashes, hyphens and a dot or quote at a line's beginning."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def main() -> int:
    """Write the page, or with `--check` say whether it is stale."""
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
