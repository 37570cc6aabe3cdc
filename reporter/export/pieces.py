"""Output in pieces of a size: OUT where one is enough, else OUT-000, OUT-001 ...; put in place when all are whole."""

from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from vio.draft import draft_of
from vio.errors import OutputError


class Pieces:
    """Files that are written one after the other; a context manager, which drops what it wrote when left by an error.

    Raises:
        OutputError: a file cannot be written.
    """

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path = path
        self._draft = draft_of(path)
        self._limit_bytes = limit_bytes
        self._drafts: list[Path] = []
        self._file: BinaryIO | None = None
        self._size_bytes = 0
        self.files: list[Path] = []
        self.total_bytes = 0

    @property
    def number(self) -> int:
        """How many pieces were begun."""
        return len(self._drafts)

    @property
    def is_full(self) -> bool:
        """Whether the piece has reached its size."""
        return self._size_bytes >= self._limit_bytes

    def begin(self) -> None:
        """Begin the next piece."""
        try:
            self._close()
            draft = self._draft.with_name(f"{self._draft.name}-{len(self._drafts):03}")
            self._drafts.append(draft)
            self._file = draft.open("wb")
        except OSError as error:
            raise self._failed(error) from None
        self._size_bytes = 0

    def write(self, data: bytes) -> None:
        """Append to the piece that was begun last."""
        if self._file is None:
            self.begin()
        try:
            if self._file is not None:
                self._file.write(data)
        except OSError as error:
            raise self._failed(error) from None
        self._size_bytes += len(data)
        self.total_bytes += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close()
            if kind is None:
                for draft, target in zip(self._drafts, self._targets(), strict=True):
                    draft.replace(target)
                    self.files.append(target)
        except OSError as failure:
            raise self._failed(failure) from None
        finally:
            for draft in self._drafts:
                draft.unlink(missing_ok=True)

    def _targets(self) -> list[Path]:
        if len(self._drafts) == 1:
            return [self._path]
        stem, suffix = self._path.stem, self._path.suffix
        return [self._path.with_name(f"{stem}-{number:03}{suffix}") for number in range(len(self._drafts))]

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(f"{self._path} cannot be written: {error.strerror}", "name another place for it")
