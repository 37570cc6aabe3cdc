"""The text in which LVM2 keeps its metadata: sections, values, lists. A parser of untrusted text."""

import re
from typing import NoReturn

from vio.errors import MapError

Value = int | str | list["Value"] | dict[str, "Value"]
Section = dict[str, Value]

MAX_DEPTH = 16
_TOKEN = re.compile(
    r'\s+|\#[^\n]*|(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>-?\d{1,19}(?:\.\d+)?)|(?P<word>[\w.+-]+)|(?P<mark>[={}\[\],])',
    re.ASCII,
)


def parse_metadata(text: str) -> Section:
    """Read the text; raise MapError that tells the place where it makes no sense."""
    return _Parser(text).section(0, is_outermost=True)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def section(self, depth: int, is_outermost: bool = False) -> Section:
        if depth > MAX_DEPTH:
            _refuse("sections are nested too deeply")
        found: Section = {}
        while True:
            kind, text = self._next()
            if (kind, text) == ("end", "") and is_outermost:
                return found
            if (kind, text) == ("mark", "}") and not is_outermost:
                return found
            if kind not in ("word", "number"):
                _refuse(f"{text!r} where a name should be")
            found[text] = self._assigned(depth)

    def _assigned(self, depth: int) -> Value:
        kind, text = self._next()
        if (kind, text) == ("mark", "{"):
            return self.section(depth + 1)
        if (kind, text) != ("mark", "="):
            _refuse(f"{text!r} where = or {{ should be")
        return self._value(depth)

    def _value(self, depth: int) -> Value:
        kind, text = self._next()
        if kind == "number":
            return int(text.partition(".")[0])
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        if (kind, text) == ("mark", "["):
            return self._list(depth + 1)
        return _refuse(f"{text!r} where a value should be")

    def _list(self, depth: int) -> list[Value]:
        if depth > MAX_DEPTH:
            _refuse("lists are nested too deeply")
        found: list[Value] = []
        while True:
            if self._peek() == ("mark", "]"):
                self._next()
                return found
            found.append(self._value(depth))
            if self._peek() == ("mark", ","):
                self._next()
            elif self._peek() != ("mark", "]"):
                _refuse("a list is not closed")

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at]

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            _refuse(f"{text[place : place + 10]!r} makes no sense")
        place = match.end()
        if match.lastgroup:
            found.append((match.lastgroup, match[match.lastgroup]))
    return [*found, ("end", "")]


def _refuse(why: str) -> NoReturn:
    raise MapError(f"LVM metadata of the guest: {why}")
