"""bpftrace's output text -> arrays of numbers, and the lines that are something else.

A line of records is the stream's digit and then fields of fixed width, `,%16llx` each: hexadecimal, with spaces in
front. So eight characters at a time become a number by a few operations on whole arrays, at a sixth of what a CSV
parser takes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vio.recorder.generate import FIELD_WIDTH
from vio.recorder.recordform import STREAMS

U64 = npt.NDArray[np.uint64]
U8 = npt.NDArray[np.uint8]
_COMMA, _NEWLINE = ord(","), ord("\n")
_STEP = 1 + FIELD_WIDTH
_STREAMS = np.uint8(len(STREAMS))
_BLOCK_LINES = 128  # what the passes over a block touch stays in the second cache, and below what malloc gives back
_HEXADECIMAL = np.zeros(256, np.bool_)
_HEXADECIMAL[list(b" 0123456789abcdef")] = True


@dataclass(frozen=True, slots=True)
class Parsed:
    """The regular lines as a table of their fields (`fields[line, field]`), and the others as they came."""

    stream: U64
    fields: U64
    odd_lines: list[bytes]

    def __len__(self) -> int:
        return len(self.stream)


class LineParser:
    """Parse whole lines with exactly `width` fields behind the stream's digit."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._length = 1 + width * _STEP + 1

    def parse(self, data: bytes | memoryview) -> Parsed:
        """Parse whole lines; a line of another shape is an odd line, an empty one is nothing."""
        odd: list[bytes] = []
        lines = self._lines(data)
        if lines is None or not self._is_regular(lines).all():
            data, odd = self._split(data)
            lines = np.frombuffer(data, np.uint8).reshape(-1, self._length)
        return Parsed((lines[:, 0] - ord("0")).astype(np.uint64), self._numbers(data, len(lines)), odd)

    def _lines(self, data: bytes | memoryview) -> U8 | None:
        if len(data) % self._length:
            return None
        return np.frombuffer(data, np.uint8).reshape(-1, self._length)

    def _is_regular(self, lines: U8) -> npt.NDArray[np.bool_]:
        commas: npt.NDArray[np.bool_] = (lines[:, 1:-1:_STEP] == _COMMA).all(axis=1)
        streams = lines[:, 0] - np.uint8(ord("1")) < _STREAMS  # anything below "1" wraps round to something large
        commas &= streams & (lines[:, -1] == _NEWLINE)
        return commas

    def _split(self, data: bytes | memoryview) -> tuple[bytes, list[bytes]]:
        """Sort the lines out, the slow way: some are no records."""
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE) + 1
        starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
        fits = ends - starts == self._length
        kept: list[bytes] = []
        odd: list[bytes] = []
        for start, end, is_fit in zip(starts.tolist(), ends.tolist(), fits.tolist(), strict=True):
            line = bytes(data[start:end])
            if is_fit and self._is_record(line):
                kept.append(line)
            elif line.strip():
                odd.append(line)
        return b"".join(kept), odd

    def _is_record(self, line: bytes) -> bool:
        row = np.frombuffer(line, np.uint8)
        if not self._is_regular(row.reshape(1, -1))[0]:
            return False
        return bool(_HEXADECIMAL[row[1:-1].reshape(self._width, _STEP)[:, 1:]].all())

    def _numbers(self, data: bytes | memoryview, count: int) -> U64:
        numbers = np.empty((count, self._width), np.uint64)
        for first in range(0, count, _BLOCK_LINES):
            lines = min(_BLOCK_LINES, count - first)
            place = first * self._length + 2
            fields = np.ndarray((lines, self._width), f"V{FIELD_WIDTH}", data, place, (self._length, _STEP))
            numbers[first : first + lines] = _numbers_in(fields.copy().view(np.uint64)).reshape(lines, self._width)
        return numbers


def _numbers_in(text: U64) -> U64:
    """Turn fields of sixteen hexadecimal characters, two words each, into their numbers.

    A digit's value is its low four bits, a letter's nine more (bit 6 tells letters); a space is 0.
    """
    spare = text >> np.uint64(6)
    spare &= np.uint64(0x0101010101010101)
    spare *= np.uint64(9)
    text &= np.uint64(0x0F0F0F0F0F0F0F0F)
    text += spare
    # two characters make a byte, in the low half of each 16 bits; the first byte is the highest
    np.right_shift(text, np.uint64(8), out=spare)
    text <<= np.uint64(4)
    text |= spare
    return text.astype("<u8", copy=False).view("<u2").astype(np.uint8).view(">u8").astype(np.uint64)
