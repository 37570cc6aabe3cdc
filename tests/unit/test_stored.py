"""Records taken out of bpftrace's maps: sorted, counted, and what found no room is a loss."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vio.losses import LossKind
from vio.recorder import stored
from vio.recorder.bpfmap import U64
from vio.recorder.rows import joined
from vio.recorder.stored import MapsUnknownError, StoredIngest

STOP_NS = 10**12


class FakeMap:
    """What stands in it comes out in two parts."""

    entries = 100

    def __init__(self) -> None:
        self.held: list[tuple[int, int, int]] = []

    def take(self) -> Iterator[tuple[U64, U64]]:
        held, self.held = self.held, []
        for part in (held[::2], held[1::2]):
            if part:
                keys = np.array([(key, number) for key, number, _ in part], np.uint64)
                yield keys, np.array([(time_ns, 1, 2, 3, 4) for _, _, time_ns in part], np.uint64)

    def close(self) -> None:
        pass


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> FakeMap:
    fake = FakeMap()
    monkeypatch.setattr(stored, "find_record_map", lambda _process, stream: fake if stream == "u" else None)
    return fake


def test_records_come_out_in_the_order_of_time(threads: FakeMap) -> None:
    ingest = StoredIngest(Path("/proc/1"), "u")
    threads.held = [(7, 2, 30), (8, 1, 20), (7, 1, 10)]
    ingest.take()
    rows = joined(ingest.rows.cut(2**62))
    assert rows.time_ns.tolist() == [10, 20, 30]
    assert rows.owner.tolist() == [7, 8, 7]
    assert (ingest.received, ingest.fullest, ingest.losses()) == (3, 0.03, [])


def test_the_kernels_numbers_settle_the_accounts(threads: FakeMap) -> None:
    ingest = StoredIngest(Path("/proc/1"), "u")
    ingest.feed(b"Attaching 3 probes...\nvio ready\n")
    threads.held = [(7, 1, 10), (7, 2, 20)]
    ingest.take()
    threads.held = [(7, 5, 50)]
    ingest.feed(b"@us[0]: 0\n@us[7]")
    ingest.feed(b": 6\nwhat is this\n\n")
    ending = ingest.end(STOP_NS)
    assert [(loss.kind, loss.where, loss.records, loss.from_ns, loss.to_ns) for loss in ending.losses] == [
        (LossKind.OVERFLOW, "thread 7", 2, 20, 50),
        (LossKind.OVERFLOW, "thread 7", 1, 50, STOP_NS),
        (LossKind.UNPARSABLE, "output lines", 1, 0, STOP_NS),
    ]
    assert ending.in_kernel == 6 == ingest.received + 3


def test_without_the_last_numbers_the_kernels_count_is_not_known(threads: FakeMap) -> None:
    ingest = StoredIngest(Path("/proc/1"), "u")
    threads.held = [(7, 1, 10)]
    assert ingest.end(STOP_NS).in_kernel is None
    assert ingest.received == 1


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("streams", ["t", "ut"])
def test_a_bpftrace_without_one_of_the_maps_is_not_read(streams: str) -> None:
    ingest = StoredIngest(Path("/proc/1"), streams)
    ingest.take()
    ingest.feed(b"vio ready\n")
    with pytest.raises(MapsUnknownError, match="is unknown"):
        ingest.take()
