"""Spell a program as some versions of bpftrace want it; the one that is kept is for all others. Pure.

Lines stay where they are. `lean` spares 0.17 the casts that it can do without: it searches all types of the kernel, and
of modules, for each; later versions need them (docs/probes.md). In 0.17 tid and cpu are unsigned words, as are the
values of maps, and a number next to one is as well. `indexed` does without strncmp(), whose number 0.26 casts to what
the kernel's own function of that name takes, and then misses as a literal; strings have had an index since 0.25.
"""

import re

_SEARCHES_UNTIL = (0, 18)
_INDEXES_SINCE = (0, 25)
_WORD = r"tid|cpu|nsecs"
_RULES = (
    (re.compile(r"\(\(uint64\)\(0\) << 32\) \| \(\(uint64\)\(0\) & 0xffffffff\)"), "(uint64)0"),
    (re.compile(r"\(\(\(uint64\)\(0\) & 0xffff\) << 8\) \| "), ""),
    (re.compile(rf"\(uint64\)\(({_WORD})\)"), r"\1"),
    (re.compile(rf"\(uint64\)({_WORD})\b"), r"\1"),
    (re.compile(r"\(uint64\)\((@\w+\[[^][]*\])\)"), r"\1"),
    (re.compile(r"\(\(uint64\)(\d+) << 32\)"), r"(\1 << 32)"),
    (re.compile(r"([|+] )\(uint64\)(\d+)\b"), r"\1\2"),
)
_RECORD = re.compile(r"^ *@[tu]\[\$k, \$n\] = \(.*$", re.MULTILINE)
_ZERO = re.compile(r"\(uint64\)(?:0\b|\(0\))")
_BEGINS = re.compile(r'strncmp\(([\w>-]+), "(\w+)", \d+\) == 0')


def searches_types(version: tuple[int, ...]) -> bool:
    """Tell whether this version searches the kernel's types for each cast; () is one that is not known."""
    return () < version < _SEARCHES_UNTIL


def for_version(program: str, version: tuple[int, ...]) -> str:
    """Return the program as this version wants it."""
    if searches_types(version):
        return lean(program)
    return indexed(program) if version >= _INDEXES_SINCE else program


def lean(program: str) -> str:
    """Return the program with a fifth of its casts; it does the same in bpftrace 0.17."""
    for pattern, replacement in _RULES:
        program = pattern.sub(replacement, program)
    # the fields of a tuple must be unsigned: this is a zero that is, without a cast
    return _RECORD.sub(lambda record: _ZERO.sub("($n & 0)", record[0]), program)


def indexed(program: str) -> str:
    """Return the program with strings compared character by character."""

    def spelled(found: re.Match[str]) -> str:
        terms = [f"(uint64){found[1]}[{at}] == (uint64){ord(letter):#x}" for at, letter in enumerate(found[2])]
        return f"({' && '.join(terms)})"

    return _BEGINS.sub(spelled, program)
