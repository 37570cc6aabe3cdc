"""bpftrace's output text -> columns of numbers, and the lines that are something else."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as csv

U64 = npt.NDArray[np.uint64]
_LARGEST = 2**64 - 1
_NUMBERS = re.compile(rb"\d{1,20}(?:,\d{1,20})*")


@dataclass(frozen=True, slots=True)
class Parsed:
    """The regular lines as one array for each column, and the others as they came."""

    columns: list[U64]
    odd_lines: list[bytes]

    def __len__(self) -> int:
        return len(self.columns[0])


class LineParser:
    """Parse whole lines of exactly `width` unsigned numbers with commas between them."""

    def __init__(self, width: int) -> None:
        names = [str(index) for index in range(width)]
        self._width = width
        self._odd: list[bytes] = []
        self._parse = csv.ParseOptions(
            quote_char=False,
            double_quote=False,
            newlines_in_values=False,
            ignore_empty_lines=True,
            invalid_row_handler=self._skip,
        )
        self._convert = csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.uint64()), check_utf8=False, null_values=[]
        )
        self._names = names

    def parse(self, data: bytes) -> Parsed:
        """Parse whole lines; a line of another shape, or with something that is no number, is an odd line."""
        self._odd = []
        if not data:
            return self._columns_of(None)
        if not data.isascii():
            # pyarrow cannot hand such a line to the handler
            return self._parse_by_line(data)
        try:
            return self._columns_of(self._read(data))
        except pa.ArrowInvalid:
            return self._parse_by_line(data)

    def _parse_by_line(self, data: bytes) -> Parsed:
        # One line among thousands has the right number of commas and is no record: find it the slow way.
        regular: list[bytes] = []
        odd: list[bytes] = []
        for line in data.split(b"\n"):
            (regular if self._is_regular(line) else odd).append(line)
        self._odd = []
        table = self._read(b"\n".join([*regular, b""])) if regular else None
        self._odd = [line for line in odd if line.strip()]
        return self._columns_of(table)

    def _is_regular(self, line: bytes) -> bool:
        if line.count(b",") != self._width - 1 or not _NUMBERS.fullmatch(line):
            return False
        return all(int(word) <= _LARGEST for word in line.split(b","))

    def _read(self, data: bytes) -> pa.Table:
        options = csv.ReadOptions(use_threads=False, column_names=self._names, block_size=len(data) + 1)
        return csv.read_csv(pa.py_buffer(data), options, self._parse, self._convert)

    def _skip(self, row: csv.InvalidRow) -> str:
        self._odd.append(row.text.encode())
        return "skip"

    def _columns_of(self, table: pa.Table | None) -> Parsed:
        if table is None or table.num_rows == 0:
            return Parsed([np.empty(0, np.uint64) for _ in self._names], self._odd)
        return Parsed([column.to_numpy() for column in table.columns], self._odd)
