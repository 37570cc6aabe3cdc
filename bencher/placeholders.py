"""Fill {placeholders} in words of commands. There is no shell: a word stays one word, whatever is put into it. Pure."""

import re
from collections.abc import Mapping, Sequence

from vio.errors import UsageError

Values = dict[str, str | tuple[str, ...]]

BUILT_IN = frozenset({"image", "run", "here"})
"""{image}: the image of this run; {run}: a directory for what the run leaves; {here}: the scenario's directory."""
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")


def names_in(text: str) -> list[str]:
    """List the placeholders in a text; braces around anything else are text, as in JSON."""
    return _PLACEHOLDER.findall(text)


def fill(text: str, values: Mapping[str, str | tuple[str, ...]]) -> str:
    """Return one word or path with its placeholders filled.

    Raises:
        UsageError: a list of words stands where there is room for one, or a placeholder stands for nothing.
    """

    def put(match: re.Match[str]) -> str:
        value = values.get(match[1])
        if not isinstance(value, str):
            what = "nothing" if value is None else "several words"
            raise UsageError(f"{match[0]} stands for {what} in {text}", "a list of words must be a word of its own")
        return value

    return _PLACEHOLDER.sub(put, text)


def fill_words(words: Sequence[str], values: Mapping[str, str | tuple[str, ...]]) -> tuple[str, ...]:
    """Return a command with its placeholders filled; a word that is one placeholder may become several, or none."""
    filled: list[str] = []
    for word in words:
        whole = _PLACEHOLDER.fullmatch(word)
        value = values.get(whole[1]) if whole else None
        filled.extend(value if isinstance(value, tuple) else [fill(word, values)])
    return tuple(filled)
