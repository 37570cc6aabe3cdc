"""QEMU's option strings: `key=val,key.sub=val` with doubled commas, `key` alone, and JSON.

Two of QEMU's parsers are meant: QemuOpts (-drive, -device; util/qemu-option.c) and keyval
(-blockdev, --export; util/keyval.c). Both end a value at a comma that is not doubled.
"""

import json
import re
from collections.abc import Mapping

Options = dict[str, object]
_WORD = re.compile(r"[^=,]*")
_VALUE = re.compile(r"(?:[^,]|,,)*", re.DOTALL)
# No number that matters has more digits; int() itself refuses to read thousands of them.
_MAX_DIGITS = 20


def split_pairs(text: str, implied_key: str = "") -> list[tuple[str, str]]:
    """Split an option string into (key, value) pairs, in order, with `,,` undone.

    A first word without `=` is the value of `implied_key` if there is one; any other word
    without `=` is a flag: `key` means on, `nokey` means off.
    """
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        word = _WORD.match(text, at)
        key, at = (word.group(), word.end()) if word else ("", at)
        if text[at : at + 1] == "=":
            value, at = _take_value(text, at + 1)
            pairs.append((key, value))
        elif implied_key and not pairs:
            value, at = _take_value(text, at - len(key))
            pairs.append((implied_key, value))
        else:
            pairs.append(_flag(key))
            at += 1
    return [(key, value) for key, value in pairs if key]


def _flag(word: str) -> tuple[str, str]:
    if word.startswith("no") and len(word) > 2 and word != "node-name":
        return word[2:], "off"
    return word, "on"


def _take_value(text: str, at: int) -> tuple[str, int]:
    """Return the value that starts at `at`, and where the next word starts."""
    value = _VALUE.match(text, at)
    return (value.group().replace(",,", ","), value.end() + 1) if value else ("", at + 1)


def nest(pairs: Mapping[str, object] | list[tuple[str, str]]) -> Options:
    """Turn dotted keys into nested options: `file.filename=x` gives {"file": {"filename": "x"}}.

    Where a key is used both as a value and as a parent (`file=x,file.locking=off`), the value is
    kept under the key "" of the inner options.
    """
    result: Options = {}
    for key, value in pairs.items() if isinstance(pairs, Mapping) else pairs:
        *parents, last = key.split(".")
        inner = result
        for parent in parents:
            inner = _inner(inner, parent)
        held = inner.get(last)
        if isinstance(held, dict) and not isinstance(value, dict):
            held[""] = value
        else:
            inner[last] = value
    return result


def _inner(options: Options, key: str) -> Options:
    held = options.get(key)
    if isinstance(held, dict):
        return held
    made: Options = {} if held is None else {"": held}
    options[key] = made
    return made


def parse_options(text: str, implied_key: str = "") -> Options:
    """Parse one option string, JSON or key=value, into nested options; damaged JSON gives {}."""
    if text.lstrip().startswith("{"):
        return parse_json(text)
    return nest(split_pairs(text, implied_key))


def parse_json(text: str) -> Options:
    """Parse a JSON object with possibly dotted keys into nested options; anything else gives {}."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return nest(parsed) if isinstance(parsed, dict) else {}


def get_text(options: Options, *path: str) -> str:
    """Return the text at `path`, or "" if there is none; a value beside inner options counts."""
    held: object = options
    for key in path:
        held = held.get(key) if isinstance(held, dict) else None
    if isinstance(held, dict):
        held = held.get("")
    if isinstance(held, bool):
        return "on" if held else "off"
    return str(held) if isinstance(held, str | int) else ""


def get_flag(options: Options, *path: str) -> bool | None:
    """Return the on/off value at `path`; None if absent or neither."""
    text = get_text(options, *path).lower()
    return {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}.get(text)


def get_options(options: Options, key: str) -> Options:
    """Return the inner options at `key`, {} if there are none."""
    held = options.get(key)
    return held if isinstance(held, dict) else {}


def get_number(options: Options, *path: str) -> int | None:
    """Return the decimal number at `path`; None if there is none or it is absurdly long."""
    text = get_text(options, *path)
    return int(text) if text.isdecimal() and len(text) <= _MAX_DIGITS else None
