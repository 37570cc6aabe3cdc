"""Columns of text, aligned; with a heading, and bold or red where a terminal shows it. And sentences, broken."""

from collections.abc import Sequence
from dataclasses import dataclass, field

_BOLD, _RED, _DIM, _END = "\x1b[1m", "\x1b[31m", "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Style:
    """How headings, warnings and lesser lines look: plain when the output is not a terminal."""

    is_terminal: bool = False

    def heading(self, text: str) -> str:
        """Make a line stand out."""
        return f"{_BOLD}{text}{_END}" if self.is_terminal else text

    def warning(self, text: str) -> str:
        """Make a line alarm."""
        return f"{_BOLD}{_RED}{text}{_END}" if self.is_terminal else text

    def lesser(self, text: str) -> str:
        """Make a line stand back."""
        return f"{_DIM}{text}{_END}" if self.is_terminal else text


@dataclass(slots=True)
class Grid:
    """Rows of cells: the columns named in `left` lean to the left, all others to the right."""

    heads: Sequence[str]
    left: frozenset[int] = frozenset({0})
    rows: list[tuple[Sequence[str], bool]] = field(default_factory=list)

    def add(self, *cells: str, is_lesser: bool = False) -> None:
        """Add a row."""
        self.rows.append((cells, is_lesser))

    def lines(self, style: Style, indent: str = "") -> list[str]:
        """Return the lines: the heads, then the rows."""
        widths = [
            max(len(cell) for cell in column) for column in zip(self.heads, *(r for r, _ in self.rows), strict=True)
        ]
        lines = [style.heading(indent + self._line(self.heads, widths))]
        for cells, is_lesser in self.rows:
            line = indent + self._line(cells, widths)
            lines.append(style.lesser(line) if is_lesser else line)
        return lines

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        padded = (
            cell.ljust(width) if number in self.left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()


def wrapped(text: str, width: int = 98, indent: str = "  ") -> list[str]:
    """Break a sentence into lines."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(indent + word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines
