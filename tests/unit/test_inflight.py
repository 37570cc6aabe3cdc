"""IOs that had not completed: tests/data/ill/hung.vio is of disks on a device that does not answer."""

import json
from pathlib import Path

import pytest
from tests.commandline import Vio, vio

from vio.layer import Stage
from vio.reporter.inflight import InFlightIos, in_flight
from vio.reporter.inflighttext import render_in_flight

__all__ = ["vio"]

DATA = Path(__file__).parents[1] / "data"
HUNG = DATA / "ill" / "hung.vio"
NATIVE, POOLED = "virtio1", "virtio4"


@pytest.fixture(scope="module")
def hung() -> InFlightIos:
    return in_flight(HUNG)


def test_every_hung_io_is_found_the_oldest_first(hung: InFlightIos) -> None:
    assert NATIVE in {one.disk for one in hung.ios} <= {NATIVE, POOLED}
    assert len(hung.ios) >= 3
    ages = [one.age_ns for one in hung.ios]
    assert ages == sorted(ages, reverse=True)
    assert ages[-1] > 1_000_000_000


def test_the_one_request_that_the_device_has_was_issued_to_it(hung: InFlightIos) -> None:
    assert all(one.stage in {Stage.BLOCK, Stage.DEVICE} for one in hung.ios)
    assert any(one.point == "rq_issue" for one in hung.ios)


def test_each_has_its_address_at_each_level(hung: InFlightIos) -> None:
    for one in hung.ios:
        assert one.bytes == 4096
        assert one.file_offset == one.offset  # raw images
        assert one.device.startswith("loop")
        assert one.device_offset is not None
        assert one.device_offset % 512 == 0


def test_threads_are_shown_as_they_were_at_the_stop(hung: InFlightIos) -> None:
    threads = [one.thread for one in hung.ios if one.disk == NATIVE]
    # io_submit came back: the event loop sleeps
    assert {thread.state for thread in threads if thread} == {"S"}
    assert all(thread and "poll" in " ".join((thread.wchan, *thread.stack)) for thread in threads)


def test_text_names_ios_points_addresses_and_threads(hung: InFlightIos) -> None:
    text = render_in_flight(hung)
    assert text.startswith(f"{len(hung.ios)} IOs had not completed when the recording stopped\n")
    assert "device rq_issue" in text
    assert ": asleep in " in text


def test_a_recording_in_which_all_ended_says_so() -> None:
    assert render_in_flight(in_flight(DATA / "ill" / "healthy.vio")).startswith("every IO that began")


def test_the_command_gives_a_table_or_json(vio: Vio) -> None:
    code, shown, _ = vio("report", str(HUNG), "--in-flight")
    assert code == 0
    assert "last reached" in shown
    data = json.loads(vio("report", str(HUNG), "--in-flight", "--json")[1])
    assert data["has_threads"] is True
    assert "S" in {one["thread"]["state"] for one in data["in_flight"]}
