"""What a uprobe on a function costs: it follows from the function's first instruction. Pure.

The kernel emulates a few instructions and steps all others out of line (XOL), with two traps more.
The rules are those of Linux arch/x86/kernel/uprobes.c: `branch_setup_xol_ops` takes relative jumps,
calls, conditional jumps and nops, `push_setup_xol_ops` takes `push` of a register (0x50-0x57, alone or
behind 41); `endbr64` (f3 0f 1e fa) is neither. Prefixes es/cs/ss/ds/lock are refused (`is_prefix_bad`).
Two things are newer: nops of several bytes are emulated since "uprobes/x86: Add support to emulate nop
instructions" (2025), and a 5-byte nop is rewritten into a call where the kernel has the `uprobe` system
call ("uprobes/x86: Add support to optimize uprobes", v6.18).

The figures are facts/speed.md 2a, measured on one machine (nested virtualisation): take them as proportions.
"""

from dataclasses import dataclass
from enum import StrEnum


class InsnKind(StrEnum):
    """How the kernel treats the instruction under a uprobe."""

    PUSH = "push"
    NOP = "nop"
    NOP_LONG = "nop of several bytes"
    NOP5 = "nop of 5 bytes"
    JUMP = "jump"
    CALL = "call"
    STEPPED = "stepped"
    REFUSED = "refused"
    UNKNOWN = "unknown"


COST_NS = {
    InsnKind.PUSH: 548,
    InsnKind.NOP: 482,
    InsnKind.NOP_LONG: 482,
    InsnKind.NOP5: 364,
    InsnKind.JUMP: 481,
    InsnKind.CALL: 548,  # not measured; emulated like `push`: one write to the user's stack
    InsnKind.STEPPED: 10_000,
}
# The nops that compilers emit and the kernel knows by their bytes (arch/x86/include/asm/nops.h).
_LONG_NOPS = (
    bytes.fromhex("0f1f8000000000"),
    bytes.fromhex("0f1f840000000000"),
    bytes.fromhex("660f1f440000"),
    bytes.fromhex("0f1f4000"),
    bytes.fromhex("0f1f00"),
)
_NOP5 = bytes.fromhex("0f1f440000")
_BAD_PREFIXES = frozenset({0x26, 0x2E, 0x36, 0x3E, 0xF0})
_REFUSED = frozenset({0xCC, 0xCD, 0xF4, 0xFA, 0xFB, 0xE4, 0xE5, 0xE6, 0xE7, 0xEC, 0xED, 0xEE, 0xEF})


@dataclass(frozen=True, slots=True)
class FirstInsn:
    """A function's first bytes, and how a uprobe on them is carried out.

    `cost_ns` is the estimate for one hit, None where nothing is known (refused, other architectures).
    """

    kind: InsnKind
    data: bytes
    cost_ns: int | None

    @property
    def is_cheap(self) -> bool:
        """Whether the kernel emulates it."""
        return self.kind not in {InsnKind.STEPPED, InsnKind.REFUSED, InsnKind.UNKNOWN}


def classify(code: bytes, has_fast_nops: bool) -> FirstInsn:
    """Classify the x86-64 instruction that `code` begins with.

    `has_fast_nops`: whether this kernel has the `uprobe` system call; without it, nops of several bytes
    are taken as stepped, which is the dearer of the two possibilities.
    """
    kind = _kind(code)
    if kind in {InsnKind.NOP5, InsnKind.NOP_LONG} and not has_fast_nops:
        kind = InsnKind.STEPPED
    return FirstInsn(kind, code[:16], COST_NS.get(kind))


def _kind(code: bytes) -> InsnKind:
    if not code:
        return InsnKind.UNKNOWN
    if code[0] in _BAD_PREFIXES or code[0] in _REFUSED:
        return InsnKind.REFUSED
    if 0x50 <= code[0] <= 0x57 or (code[0] == 0x41 and 0x50 <= _byte(code, 1) <= 0x57):
        return InsnKind.PUSH
    if code.startswith(_NOP5):
        return InsnKind.NOP5
    if code.startswith(_LONG_NOPS):
        return InsnKind.NOP_LONG
    # `prefix* nop`: 66 90 and f3 90 (pause) too
    if code[0] == 0x90 or (code[0] in {0x66, 0xF3} and _byte(code, 1) == 0x90):
        return InsnKind.NOP
    if code[0] in {0xEB, 0xE9} or 0x70 <= code[0] <= 0x7F:
        return InsnKind.JUMP
    if code[0] == 0x0F and 0x80 <= _byte(code, 1) <= 0x8F:
        return InsnKind.JUMP
    return InsnKind.CALL if code[0] == 0xE8 else InsnKind.STEPPED


def _byte(code: bytes, at: int) -> int:
    return code[at] if at < len(code) else -1
