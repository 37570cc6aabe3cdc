"""bpftrace's text becomes records; gaps, overflows and nonsense are counted to the last record."""

from dataclasses import astuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vio.losses import LossKind
from vio.recorder.generate import BATCH
from vio.recorder.ingest import Ingest
from vio.recorder.recordform import STREAMS, WORDS
from vio.recorder.rows import Rows, joined

STOP_NS = 10**12
U64 = st.integers(0, 2**64 - 1)


def a_record(time_ns: int, point: int = 1, high: int = 0) -> tuple[int, ...]:
    return (time_ns, high << 32 | point, 7 << 32 | 4096, time_ns * 8, 0xFFFF_8880_0000_0000)


def a_batch(first_ns: int) -> list[tuple[int, ...]]:
    return [a_record(first_ns + index) for index in range(BATCH)]


def a_line(stream: int, key: int, number: int, records: list[tuple[int, ...]]) -> bytes:
    words = [key, number, *(word for record in records for word in record)]
    words += [0] * (2 + BATCH * WORDS - len(words))
    return f"{stream}{''.join(f',{word:16x}' for word in words)}\n".encode()


def the_end(
    u: dict[int, tuple[int, list[tuple[int, ...]]]], t: dict[int, tuple[int, list[tuple[int, ...]]]], rare: int = 0
) -> bytes:
    """Write END's prints: for each batch key the number of full batches and what stands in the last one."""
    lines = [f"@rs[0]: {rare}"]
    for name, keys in (("u", {0: (0, []), **u}), ("t", {0: (0, []), **t})):
        for key, (full, records) in keys.items():
            lines += [f"@{name}[{key}, {at}]: ({', '.join(map(str, r))})" for at, r in enumerate(records)]
            lines += [f"@{name}n[{key}]: {len(records)}", f"@{name}s[{key}]: {full}"]
    return "\n".join(lines).encode() + b"\n\n"


def sorted_rows(ingest: Ingest) -> Rows:
    rows = joined(ingest.rows.cut(2**62))
    # the writer leaves out rows without a time
    rows = rows.pick(rows.time_ns > 0)
    return rows.pick(np.argsort(rows.time_ns, kind="stable"))


def test_a_batch_of_a_thread_becomes_its_records() -> None:
    ingest = Ingest()
    ingest.feed(b"Attaching 3 probes...\nvio ready\n" + a_line(1, 77, 1, a_batch(100)))
    ending = ingest.end(STOP_NS)
    rows = sorted_rows(ingest)
    assert ingest.printed.is_ready
    assert rows.time_ns.tolist() == list(range(100, 111))
    assert set(rows.owner.tolist()) == {77}
    assert (ending.losses, ending.in_kernel, ingest.printed.unparsable) == ([], None, 0)


def test_the_same_text_in_any_pieces_gives_the_same_records() -> None:
    text = a_line(1, 5, 1, a_batch(100)) + b"@u[5, 0]: (300, 1, 2, 3, 4)\n" + a_line(2, 0, 1, a_batch(200))
    for size in (1, 7, 100, len(text)):
        ingest = Ingest()
        for at in range(0, len(text), size):
            ingest.feed(text[at : at + size])
            ingest.take()
        assert sorted_rows(ingest).time_ns.tolist() == [*range(100, 111), *range(200, 211)]
        assert ingest.leftovers().time_ns.tolist() == [300]


def test_a_gap_is_a_loss_between_the_batches_around_it() -> None:
    ingest = Ingest()
    ingest.feed(a_line(2, 1, 1, a_batch(100)) + a_line(2, 1, 4, a_batch(900)))
    ingest.feed(the_end({}, {1: (4, [])}))
    ending = ingest.end(STOP_NS)
    assert [astuple(loss) for loss in ending.losses] == [(LossKind.BUFFER, "cpu 1", 2 * BATCH, 110, 900)]
    assert ending.in_kernel == ingest.received + 2 * BATCH


def test_batches_that_come_in_another_order_are_no_loss() -> None:
    ingest = Ingest()
    for number in (2, 4, 1, 3):
        ingest.feed(a_line(1, 9, number, a_batch(100 * number)))
        ingest.take()
    ingest.feed(the_end({9: (4, [])}, {}))
    ending = ingest.end(STOP_NS)
    assert ending.losses == []
    assert ending.in_kernel == ingest.received == 4 * BATCH


def test_a_loss_at_the_tail_is_found_by_the_kernels_count() -> None:
    ingest = Ingest()
    ingest.feed(a_line(1, 9, 1, a_batch(100)) + the_end({9: (3, [a_record(800)]), 10: (1, [])}, {}))
    ending = ingest.end(STOP_NS)
    assert {(loss.where, loss.records, loss.from_ns, loss.to_ns) for loss in ending.losses} == {
        ("thread 9", 2 * BATCH, 110, 800),
        ("thread 10", BATCH, -1, STOP_NS),
    }
    assert ending.leftovers.time_ns.tolist() == [800]
    assert ending.in_kernel == 4 * BATCH + 1


def test_records_without_a_time_found_no_room_in_the_map() -> None:
    batch = a_batch(100)
    batch[3] = batch[7] = (0, 0, 0, 0, 0)
    ingest = Ingest()
    ingest.feed(a_line(1, 9, 1, batch) + the_end({9: (1, [a_record(500), (0, 0, 0, 0, 0)])}, {}))
    ending = ingest.end(STOP_NS)
    assert [(loss.kind, loss.records) for loss in ending.losses] == [(LossKind.OVERFLOW, 2), (LossKind.OVERFLOW, 1)]
    assert len(sorted_rows(ingest)) + len(ending.leftovers) + 3 == ending.in_kernel


def test_rare_points_have_a_line_and_numbers_of_their_own() -> None:
    ingest = Ingest()
    ingest.feed(a_line(3, 0, 1, [a_record(50, high=42)]) + a_line(2, 0, 1, a_batch(100)))
    ingest.feed(a_line(3, 0, 3, [a_record(300)]) + the_end({}, {0: (1, [])}, rare=3))
    ending = ingest.end(STOP_NS)
    assert sorted_rows(ingest).time_ns.tolist() == [50, *range(100, 111), 300]
    assert [astuple(loss) for loss in ending.losses] == [(LossKind.BUFFER, "rare points on cpu 0", 1, 50, 300)]
    assert ending.in_kernel == 3 + BATCH


def test_leftovers_are_the_slots_newer_than_what_came() -> None:
    ingest = Ingest()
    ingest.feed(a_line(1, 9, 1, a_batch(100)))
    ingest.feed(b"@u[9, 0]: (111, 1, 2, 3, 4)\n@u[9, 1]: (101, 1, 2, 3, 4)\n@u[0, 0]: (0, 0, 0, 0, 0)\n")
    ingest.take()
    assert ingest.leftovers().time_ns.tolist() == [111]
    assert ingest.leftovers().owner.tolist() == [9]


def test_nonsense_is_counted_and_the_first_of_it_kept() -> None:
    ingest = Ingest()
    nonsense = b"WARNING: what, is, this\n\xff\xfe,1\n1,2,3\n"
    ingest.feed(nonsense + a_line(1, 9, 1, a_batch(100)).replace(b" 9,", b"9x,", 1) + b"Lost 12 events\n\n")
    ending = ingest.end(STOP_NS)
    assert ingest.printed.unparsable == 4
    assert ingest.printed.first_odd[0] == "WARNING: what, is, this"
    assert ingest.printed.lost_by_bpftrace == 12
    assert [(loss.kind, loss.records) for loss in ending.losses] == [(LossKind.UNPARSABLE, 4)]


def test_a_line_cut_off_at_the_end_is_not_taken_for_a_record() -> None:
    ingest = Ingest()
    line = a_line(1, 9, 1, a_batch(100))
    ingest.feed(line + line[:-20])
    ingest.end(STOP_NS)
    assert (ingest.received, ingest.printed.unparsable) == (BATCH, 1)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(1, 2**62), U64, U64, U64, U64), min_size=BATCH, max_size=BATCH), max_size=5)
)
def test_records_survive_the_way_through_text(batches: list[list[tuple[int, ...]]]) -> None:
    ingest = Ingest()
    for number, batch in enumerate(batches, start=1):
        ingest.feed(a_line(STREAMS["t"], 1, number, batch))
    ingest.end(STOP_NS)
    rows = sorted_rows(ingest)
    columns = (rows.time_ns, rows.header, rows.extent, rows.offset, rows.key)
    got = sorted(zip(*(column.tolist() for column in columns), strict=True))
    assert got == sorted(record for batch in batches for record in batch)
    assert np.all(np.diff(rows.time_ns) >= 0)


@settings(max_examples=25, deadline=None)
@given(
    arrived=st.permutations(list(range(1, 9))),
    lost=st.sets(st.integers(1, 8)),
    tail=st.integers(0, BATCH - 1),
)
def test_rows_and_losses_add_up_to_the_kernels_count(arrived: list[int], lost: set[int], tail: int) -> None:
    ingest = Ingest()
    for number in arrived:
        if number not in lost:
            ingest.feed(a_line(1, 3, number, a_batch(1000 * number)))
            ingest.take()
    ingest.feed(the_end({3: (8, [a_record(20_000 + at) for at in range(tail)])}, {}))
    ending = ingest.end(STOP_NS)
    missing = sum(loss.records for loss in ending.losses)
    assert missing == len(lost) * BATCH
    assert ingest.received + len(ending.leftovers) + missing == ending.in_kernel == 8 * BATCH + tail
    assert all(loss.from_ns < loss.to_ns for loss in ending.losses)
