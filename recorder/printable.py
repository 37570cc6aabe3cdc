"""Show untrusted text: file names and command lines may hold anything, terminal escapes too."""


def printable(text: str) -> str:
    """Return `text` with everything that a terminal could obey or hide written as an escape.

    Bytes that are not UTF-8 (surrogates from `os.fsdecode`) come out as `\\xNN`.
    """
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
