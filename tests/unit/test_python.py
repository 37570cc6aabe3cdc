"""`vio.open`: frames and Arrow tables of the same names and rows as the SQL."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from lab.demo import SAMPLE

import vio
from vio.errors import RecordingError, UsageError
from vio.reporter.sql.database import VIEWS


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("python") / "demo.vio"
    shutil.copytree(SAMPLE, copy)
    return copy


def test_frames_and_tables_have_the_same_rows(sample: Path) -> None:
    with vio.open(sample) as recording:
        for name in VIEWS:
            if name in ("writebacks", "stages"):
                with pytest.raises(UsageError):
                    getattr(recording, name)
                continue
            frame, table = getattr(recording, name), getattr(recording.arrow, name)
            if name in ("ios", "spans"):
                frame, table = frame(), table()
            assert isinstance(frame, pd.DataFrame)
            assert isinstance(table, pa.Table)
            assert list(frame.columns) == table.column_names
            assert len(frame) == table.num_rows


def test_rows_and_columns_are_chosen(sample: Path) -> None:
    with vio.open(str(sample)) as recording:
        writes = recording.ios("op = 'write' -- only", columns=["io", "begin_ns", "latency_ns"])
        assert list(writes.columns) == ["io", "begin_ns", "latency_ns"]
        assert writes["begin_ns"].is_monotonic_increasing
        assert len(writes) == recording.sql("select count(*) as n from ios where op = 'write'")["n"][0]
        assert set(recording.spans("io = 7")["io"]) == {7}


def test_several_recordings(sample: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.vio"
    shutil.copytree(sample, other)
    with vio.open(sample, other) as both:
        assert both.ios().groupby("recording").size().to_dict() == {"demo.vio": 1054, "other.vio": 1054}
        assert repr(both) == "<vio recording demo.vio, other.vio>"


def test_what_is_wrong_is_said(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordingError):
        vio.open(tmp_path)
    with vio.open(sample) as recording, pytest.raises(UsageError, match="Binder Error"):
        recording.ios("nonsense = 1")


def test_importing_vio_imports_nothing_heavy() -> None:
    code = "import sys, vio; print(sorted({'duckdb', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_query_needs_no_arrow(sample: Path) -> None:
    vio.open(sample).ios()
    code = (
        "import sys; from vio.cli import run; code = run(sys.argv[1:]); "
        "print(code, sorted({'numba', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules)))"
    )
    for query in ("select count(*) from spans", "from layers", "from maps limit 1"):
        ran = subprocess.run(
            [sys.executable, "-c", code, "query", str(sample), query, "--csv"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.endswith("0 []\n")
