"""What the command lines of qemu-img, qemu-io and qemu-nbd say about images. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vio.recorder.cmdline import CommandLine, TargetKind
from vio.recorder.optstring import Options, parse_options


@dataclass(slots=True)
class _Words:
    """A getopt command line, taken apart: the last value of each option, and the other words."""

    options: dict[str, str] = field(default_factory=dict)
    positional: list[str] = field(default_factory=list)


# Letters of short options with a value, by program or qemu-img subcommand (qemu-img.c, 7.2 to 10).
_IMG_SHORT = {
    "amend": "fto",
    "bench": "cdfiosSt",
    "bitmap": "bFgf",
    "check": "frT",
    "commit": "ftbr",
    "compare": "fFT",
    "convert": "fOBFolSrmtT",
    "create": "fobF",
    "dd": "fO",
    "info": "f",
    "map": "fsl",
    "measure": "Oofl",
    "rebase": "ftTbF",
    "resize": "f",
    "snapshot": "acd",
}
_SHORT = {TargetKind.IO: "cdftiT", TargetKind.NBD: "bopcxTDBlfek"}
# Long options with a value that may stand in the next word.
_LONG_WORDS = """
    object flush-interval pattern output trace cmd aio cache discard format port bind socket shared
    export-name description offset bitmap tls-creds tls-authz tls-hostname pid-file selinux-label
    connect load-snapshot detect-zeroes start-offset max-length size preallocation merge count depth
    buffer-size step-size
"""
_LONG = frozenset(_LONG_WORDS.split())
_ALIASES = {
    "f": "format",
    "t": "cache",
    "i": "aio",
    "r": "read-only",
    "s": "snapshot",
    "n": "nocache",
    "x": "export-name",
}


def parse_tool(kind: TargetKind, argv: Sequence[str]) -> CommandLine:
    """Read the command line of qemu-img, qemu-io or qemu-nbd: each image becomes a drive."""
    words = list(argv[1:])
    if kind is TargetKind.IMG:
        return _parse_img(words)
    parts = _getopt(words, _SHORT[kind])
    options = _common(parts, is_img=False)
    # qemu-nbd -t is --persistent, and a flag
    cache = parts.options.get("cache", "none" if "nocache" in parts.options else "")
    options |= {"cache": cache} if cache else {}
    if kind is TargetKind.IO and {"k", "native-aio"} & parts.options.keys():
        options["aio"] = "native"
    name = parts.options.get("export-name", "")
    found = CommandLine(snapshot="snapshot" in parts.options)
    found.drives = [_drive(word, options, parts, name) for word in parts.positional[:1]]
    return found


def _parse_img(words: list[str]) -> CommandLine:
    while words and words[0].startswith("-"):
        words = words[2:] if words[0] in {"-T", "--trace"} else words[1:]
    command = words[0] if words else ""
    parts = _getopt(words[1:], _IMG_SHORT.get(command, ""))
    options = _common(parts, is_img=True)
    if command == "bench" and {"n", "native"} & parts.options.keys():
        options["aio"] = "native"
    images = _images(command, parts.positional)
    found = CommandLine()
    found.drives = [_drive(word, options, parts, "") for word in images]
    if command == "convert" and len(images) > 1:
        found.drives[-1] = _convert_output(images[-1], parts)
        for drive in found.drives[:-1]:
            drive["cache"] = parts.options.get("T", "writeback")
            drive["read-only"] = "on"
    return found


def _convert_output(image: str, parts: _Words) -> Options:
    # `convert` writes with cache=unsafe unless told otherwise (qemu-img.c, img_convert)
    return {
        "if": "none",
        "file": image,
        "format": parts.options.get("O", "raw"),
        "cache": parts.options.get("cache", "unsafe"),
    }


def _images(command: str, positional: list[str]) -> list[str]:
    if command == "dd":
        return [word[3:] for word in positional if word.startswith(("if=", "of="))]
    if command in {"convert", "compare"}:
        return positional
    return positional[:1]


def _common(parts: _Words, is_img: bool) -> Options:
    options: Options = {"if": "none"}
    for name in ("format", "aio", "cache"):
        if parts.options.get(name):
            options[name] = parts.options[name]
    if not is_img and "read-only" in parts.options:
        options["read-only"] = "on"
    return options


def _drive(word: str, options: Options, parts: _Words, name: str) -> Options:
    drive = dict(options)
    if "image-opts" in parts.options:
        given = parse_options(word)
        drive |= {"format": given["driver"]} if "driver" in given else {}
        drive |= {key: value for key, value in given.items() if key != "driver"}
    else:
        drive["file"] = word
    return drive | ({"id": name} if name else {})


def _getopt(words: list[str], short_with_value: str) -> _Words:
    parts = _Words()
    rest = iter(words)
    for word in rest:
        if word == "--":
            parts.positional.extend(rest)
        elif word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
            parts.options[name] = value if has_value else next(rest, "") if name in _LONG else ""
        elif word.startswith("-") and word != "-":
            _take_short(parts, word[1:], short_with_value, rest)
        else:
            parts.positional.append(word)
    return parts


def _take_short(parts: _Words, letters: str, with_value: str, rest: Iterator[str]) -> None:
    for at, letter in enumerate(letters):
        name = _ALIASES.get(letter, letter)
        if letter in with_value:
            parts.options[name] = letters[at + 1 :] or next(rest, "")
            return
        if name != "cache":
            parts.options[name] = ""
            parts.options.setdefault(letter, "")
