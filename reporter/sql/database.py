"""A DuckDB with a recording's views and nothing else: it reads no other file, no network, and loads no extension."""

import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

import duckdb

from vio import __version__
from vio.draft import draft_of
from vio.errors import OutputError, RecordingError, UsageError
from vio.manifestfile import IOS_FILE
from vio.reporter.figures import FIGURES_FILE
from vio.reporter.sql import views
from vio.reporter.sql.faults import fault_of
from vio.reporter.sql.smalltables import SMALL
from vio.reporter.sql.source import OnProgress, Source

T = TypeVar("T")
VIEWS = ("ios", "spans", "layers", "links", "losses", "maps", "writebacks", "stages", "recordings")
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
}
_FILES = {
    "ios": IOS_FILE,
    "spans": IOS_FILE,
    "layers": FIGURES_FILE,
    "links": FIGURES_FILE,
    **{view: f"{view}.parquet" for view in ("losses", "maps", "writebacks", "stages")},
}
_REMEDIES = dict.fromkeys(("ios", "spans", "layers", "links", "writebacks"), "remove it: it is made again")
_HOW = {
    "maps": "the recording has none",
    "writebacks": "it has none: no disk goes through the page cache, or nothing was written back",
    "stages": "`vio report --stages` makes it, of a recording with opened layers",
}


class Database:
    """Recordings open for queries; a context manager. Views are made when a query names them.

    Raises:
        RecordingError: one of them is none, or is damaged.
    """

    def __init__(self, paths: Sequence[Path], progress: Callable[[], OnProgress] = lambda: None) -> None:
        self.sources = [Source.open(path, name, progress) for path, name in zip(paths, _names(paths), strict=True)]
        folder = Path(tempfile.mkdtemp(prefix="vio-sql-"))
        self._clean = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        for number, source in enumerate(self.sources):
            source.spare = folder / str(number)
        self._made: set[str] = set()
        self._output = folder / "output"
        self._con = duckdb.connect(":memory:", config=_CONFIG)
        self._find_tables()
        self._lock(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of memory and files."""
        self._con.close()
        self._clean()

    def run(self, text: str) -> duckdb.DuckDBPyConnection:
        """Run one query (SELECT, WITH, FROM, DESCRIBE, SUMMARIZE ...) and return the cursor with its result.

        Raises:
            UsageError: the SQL is wrong, or is more than one query.
        """
        query = self._checked(text)
        try:
            return self._con.execute(query)
        except duckdb.Error as error:
            raise fault_of(error) from None

    def fetch(self, text: str, convert: Callable[[duckdb.DuckDBPyRelation], T]) -> T:
        """Run one query and return what `convert` makes of its result.

        Raises:
            UsageError: the SQL is wrong, or is more than one query.
        """
        query = self._checked(text)
        try:
            return convert(self._con.sql(query))
        except duckdb.Error as error:
            raise fault_of(error) from None

    def write_parquet(self, text: str, path: Path) -> int:
        """Write a query's result to a Parquet file; return the number of rows.

        Raises:
            UsageError: the SQL is wrong.
            OutputError: the file cannot be written.
        """
        query = self._checked(text)
        try:
            # a line end: the query may close with a comment
            rows = self._con.execute(
                f"COPY ({query}\n) TO {views.literal(str(self._output))} (FORMAT parquet, COMPRESSION zstd)"
            ).fetchall()
        except duckdb.Error as error:
            raise fault_of(error) from None
        try:
            _move(self._output, path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from None
        return int(rows[0][0])

    def columns(self, view: str) -> list[tuple[str, str]]:
        """Return the names and types of a view's columns; none where the recordings have no such table."""
        try:
            return [(str(row[0]), str(row[1])) for row in self.run(f"DESCRIBE {view}").fetchall()]
        except UsageError:
            return []

    def _checked(self, text: str) -> str:
        try:
            statements = self._con.extract_statements(text)
        except duckdb.Error as error:
            raise fault_of(error) from None
        if len(statements) != 1:
            raise UsageError(f"one query is needed, here are {len(statements)}", "quote it as one word of the shell")
        if statements[0].type != duckdb.StatementType.SELECT:
            raise UsageError("a query only reads", "begin it with SELECT, WITH, FROM, DESCRIBE or SUMMARIZE")
        # Words of the text, not names of its tables: a view too many costs time, none is missed.
        self._make([view for view in VIEWS if view in set(re.findall(r"\w+", text.lower()))])
        return statements[0].query.strip().rstrip(";")

    def _make(self, wanted: list[str]) -> None:
        for view in wanted:
            if view in self._made:
                continue
            try:
                self._make_table(view) if view in SMALL else self._make_view(view)
            except (duckdb.Error, KeyError, TypeError) as error:
                reason = str(error).splitlines()[0]
                raise RecordingError(
                    f"{_FILES.get(view, view)} is damaged: {reason}", _REMEDIES.get(view, "")
                ) from None
            self._made.add(view)

    def _make_view(self, view: str) -> None:
        selects = list(self._selects(view))
        if not selects:
            raise UsageError(f"there is no {view} here", _HOW[view])
        self._con.execute(f"CREATE VIEW {view} AS {views.union(selects)}")

    def _selects(self, view: str) -> Iterator[str]:
        for source in self.sources:
            if view in ("ios", "spans"):
                select_ios = views.ios_select if view == "ios" else views.spans_select
                yield select_ios(source.manifest, source.ios(), source.name)
            elif view == "writebacks":
                source.ios()  # what makes that table makes this one
                if source.files[view].is_file():
                    yield views.writebacks_select(source.manifest, source.files[view], source.name)
            elif view == "maps":
                yield from _maps_of(source)
            elif source.files[view].is_file():
                yield views.stages_select(source.files[view], source.name)

    def _make_table(self, view: str) -> None:
        columns, rows_of = SMALL[view]
        rows = [(*row, source.name) for source in self.sources for row in rows_of(source)]
        declared = ", ".join(f'"{name}" {kind}' for name, kind in (*columns.items(), ("recording", "VARCHAR")))
        self._con.execute(f"CREATE OR REPLACE TABLE {view} ({declared})")
        if rows:
            self._con.executemany(f"INSERT INTO {view} VALUES ({', '.join('?' * len(rows[0]))})", rows)

    def _find_tables(self) -> None:
        """Look, before the door is locked, which recordings have a per-IO table of theirs."""
        for source in self.sources:
            here, _ = source.places
            if here.is_file() and self._note(here) == (__version__, source.fingerprint):
                source.ios_path = here

    def _note(self, table: Path) -> tuple[object, object]:
        with suppress(duckdb.Error, ValueError, IndexError):
            made_by, recording = self._con.execute(
                "SELECT decode(value)->>'made_by', decode(value)->>'recording' "
                f"FROM parquet_kv_metadata({views.file_pattern(table)}) WHERE decode(key) = 'vio'"
            ).fetchall()[0]
            return made_by, recording
        return None, None

    def _lock(self, folder: Path) -> None:
        readable = [self._output]
        for source in self.sources:
            readable += [*source.places, *source.files.values()]
        # a path that has to be written as a pattern is asked for as one
        paths = ", ".join(text for path in readable for text in (views.literal(str(path)), views.file_pattern(path)))
        for setting in (
            "python_enable_replacements = false",
            f"temp_directory = {views.literal(str(folder / 'spill'))}",
            f"allowed_paths = [{paths}]",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            self._con.execute(f"SET {setting}")


def _maps_of(source: Source) -> Iterator[str]:
    if source.files["maps"].is_file():
        yield views.maps_select(source.files["maps"], source.name, "taken")
    if source.has_shown_maps:
        source.ios()  # what makes that table finds these too
        if source.files["shown"].is_file():
            yield views.maps_select(source.files["shown"], source.name, "shown by the run")


def _names(paths: Sequence[Path]) -> list[str]:
    """Name recordings by their directories, by the whole paths where two are of one name."""
    short = [path.name or str(path.resolve()) for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]


def _move(source: Path, target: Path) -> None:
    """Put a file in its place, whole: by way of a neighbour, as another file system may be between."""
    draft = draft_of(target)
    try:
        with source.open("rb") as read, draft.open("wb") as written:
            while piece := read.read(1 << 20):
                written.write(piece)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
        source.unlink(missing_ok=True)
