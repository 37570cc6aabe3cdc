import numpy as np
import pyarrow as pa
from tests.builders import HOST_STAGES, an_io_table

from vio.layer import Phase, Stage
from vio.schema import IOS, arrow_schema, time_column


def test_tables_have_the_schema() -> None:
    assert an_io_table(10).schema == arrow_schema(IOS)


def test_times_add_up_to_the_latency() -> None:
    table = an_io_table(500, seed=3, stages=tuple(Stage), unended=5)

    names = [time_column(stage, phase) for stage in Stage for phase in Phase]
    total = sum(filled(table, name) for name in [*names, "unattributed_ns"])

    assert np.array_equal(total, filled(table, "latency_ns"))
    assert table["latency_ns"].null_count == 5


def test_stamps_lie_within_the_io() -> None:
    table = an_io_table(200, stages=HOST_STAGES)

    begin, end = filled(table, "begin_ns"), filled(table, "begin_ns") + filled(table, "latency_ns")
    for name in (name for name in table.column_names if name.startswith("t_") and table[name].null_count < 200):
        there = table[name].is_valid().to_numpy()
        at = filled(table, name)
        assert ((begin <= at) & (at <= end))[there].all(), name


def filled(table: pa.Table, name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    values: np.ndarray[tuple[int], np.dtype[np.int64]] = table[name].fill_null(0).to_numpy()
    return values
