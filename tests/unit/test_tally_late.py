"""How much of the time until QEMU tells the guest is explained by waiting: of each IO no more than it has there."""

import numpy as np
import pyarrow as pa
from tests.builders import an_io_table

from vio.layer import Phase
from vio.reporter.verdict.tally import LATE, Tallies
from vio.schema import time_column

COUNT = 100


def explained_ns(runqueue_ns: np.ndarray, stopped_ns: np.ndarray, late_ns: np.ndarray) -> int:
    """Tally IOs with these waits, and these times on the way up through qemu-aio."""
    ios = an_io_table(COUNT)
    given = {time_column(stage, Phase.UP): np.zeros(COUNT, np.int64) for stage in LATE}
    given |= {time_column(LATE[0], Phase.UP): late_ns, "runqueue_ns": runqueue_ns, "stopped_ns": stopped_ns}
    for name, values in given.items():
        ios = ios.set_column(ios.schema.get_field_index(name), ios.schema.field(name), pa.array(values))
    tallies = Tallies()
    tallies.add(ios, None)
    return sum(one.explained_ns for one in tallies.groups.values())


def test_who_waits_explains_no_other_ios_delay() -> None:
    is_odd = np.arange(COUNT) % 2 == 1
    waits, late = np.where(is_odd, 9_000_000, 0), np.where(is_odd, 0, 5_000_000)
    nothing = np.zeros(COUNT, np.int64)
    assert explained_ns(waits, nothing, late) == 0
    assert explained_ns(nothing, waits, late) == 0


def test_a_wait_explains_as_much_as_there_is() -> None:
    late, nothing = np.full(COUNT, 5_000), np.zeros(COUNT, np.int64)
    assert explained_ns(np.full(COUNT, 2_000), np.full(COUNT, 1_000), late) == COUNT * 3_000
    assert explained_ns(np.full(COUNT, 9_000), nothing, late) == COUNT * 5_000
