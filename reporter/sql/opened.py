"""What `vio.open` returns: the views of recordings as pandas frames, and as Arrow tables."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from vio.reporter.sql.database import Database

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

T = TypeVar("T")


class Views(Generic[T]):
    """The views of docs/sql.md, each as one table in memory. Times are in ns.

    Raises:
        RecordingError: the recording is damaged.
        UsageError: the SQL is wrong, or the recording has no such table.
    """

    def __init__(self, database: Database, convert: "Callable[[duckdb.DuckDBPyRelation], T]") -> None:
        self._database = database
        self._convert = convert

    def sql(self, query: str) -> T:
        """Return the result of a query over the views."""
        return self._database.fetch(query, self._convert)

    def ios(self, where: str = "", columns: Sequence[str] = ()) -> T:
        """Return the IOs, in the order of their begin: those that an SQL condition takes, and some columns of them."""
        return self._select("ios", where, columns, "begin_ns")

    def spans(self, where: str = "", columns: Sequence[str] = ()) -> T:
        """Return a row for each IO and stage, in the order of IOs: those that an SQL condition takes."""
        return self._select("spans", where, columns, "io, begin_ns")

    @property
    def layers(self) -> T:
        """The report's times by stage and phase, over the IOs that ended."""
        return self.sql("FROM layers")

    @property
    def links(self) -> T:
        """What tied the layers to each other, and how often."""
        return self.sql("FROM links")

    @property
    def losses(self) -> T:
        """What is known to be missing."""
        return self.sql("FROM losses")

    @property
    def maps(self) -> T:
        """Addresses of one layer, and where they lie in the next."""
        return self.sql("FROM maps")

    @property
    def writebacks(self) -> T:
        """What was written back from the page cache."""
        return self.sql("FROM writebacks")

    @property
    def stages(self) -> T:
        """The parts of opened layers, where `vio report --stages` wrote them."""
        return self.sql("FROM stages")

    @property
    def recordings(self) -> T:
        """What was recorded, where and when."""
        return self.sql("FROM recordings")

    def _select(self, view: str, where: str, columns: Sequence[str], order: str) -> T:
        names = ", ".join(f'"{name}"' for name in columns) or "*"
        condition = f"WHERE {where}\n" if where else ""
        return self.sql(f"SELECT {names} FROM {view} {condition} ORDER BY {order}")


if TYPE_CHECKING:
    _Frames = Views[pd.DataFrame]
else:
    _Frames = Views


class OpenedRecording(_Frames):
    """One or several recordings: pandas frames; `arrow` has the same names as Arrow tables. A context manager."""

    def __init__(self, paths: Sequence[Path]) -> None:
        database = Database(paths)
        super().__init__(database, lambda result: result.df())
        self.arrow: Views[pa.Table] = Views(database, lambda result: result.to_arrow_table())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database; frames and tables stay."""
        self._database.close()

    def __repr__(self) -> str:
        names = ", ".join(source.name for source in self._database.sources)
        return f"<vio recording {names}>"
