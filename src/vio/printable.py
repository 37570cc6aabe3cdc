"""Show untrusted text: file names and command lines may hold anything, terminal escapes too."""

import shlex


def printable(text: str) -> str:
    """Return `text` with everything that a terminal could obey or hide written as an escape.

    Bytes that are not UTF-8 (surrogates from `os.fsdecode`) come out as `\\xNN`.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def shell_word(text: str) -> str:
    """Return `text` as a word to type into a shell: plain, quoted, or in $'...' if it cannot be shown as it is."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join("\\" + char if char in "\\'" else _shown(char) for char in text) + "'"


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
