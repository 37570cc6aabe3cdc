"""Spare bpftrace 0.17 the casts that it can do without: it searches all types of the kernel, and of modules, for each.

Later versions need them (docs/probes.md), so the program that is kept has them; lines stay where they are. In 0.17 tid
and cpu are unsigned words, as are the values of maps, and a number next to one is as well. Pure.
"""

import re

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


def lean(program: str) -> str:
    """Return the program with a fifth of its casts; it does the same in bpftrace 0.17."""
    for pattern, replacement in _RULES:
        program = pattern.sub(replacement, program)
    # the fields of a tuple must be unsigned: this is a zero that is, without a cast
    return _RECORD.sub(lambda record: _ZERO.sub("($n & 0)", record[0]), program)
