"""The load's own figures: fio's JSON wherever it stands in a text, and what `qemu-img bench` prints."""

import json
from pathlib import Path

import pytest

from vio.bencher.witness import Told, WitnessError, parse_witness, read_witness

QEMU_IMG = "Sending 5000 read requests, 4096 bytes each, 8 in parallel\nRun completed in 0.250 seconds.\n"


def a_job(count: int, mean_ns: float, error: int = 0) -> dict[str, object]:
    times = {"mean": mean_ns, "percentile": {"50.000000": 90, "99.000000": 300}}
    nothing = {"total_ios": 0, "iops": 0.0, "clat_ns": {"mean": 0.0}}
    read = {"total_ios": count, "iops": 1000.0, "clat_ns": times}
    return {"jobname": "one", "error": error, "read": read, "write": nothing, "trim": nothing}


def fio(*jobs: dict[str, object]) -> str:
    return json.dumps({"fio version": "fio-3.33", "jobs": jobs}, indent=2)


def test_qemu_img_tells_count_and_time() -> None:
    assert parse_witness(QEMU_IMG, "stdout.txt") == (Told("read", 5000, 20_000.0),)


def test_fio_tells_of_each_operation_that_it_did() -> None:
    assert parse_witness(fio(a_job(10, 100.0)), "x") == (Told("read", 10, 1000.0, 100.0, 90.0, 300.0),)


def test_fio_on_a_console_is_found_among_other_lines() -> None:
    text = f"[    0.1] {{ boot\r\n{{ no json\n{fio(a_job(10, 100.0))}\n".replace("\n", "\r\n") + "reboot: Power down"
    assert parse_witness(text, "console")[0].count == 10


def test_several_jobs_are_added_up_but_their_quantiles_are_not() -> None:
    assert parse_witness(fio(a_job(10, 100.0), a_job(30, 200.0)), "x") == (Told("read", 40, 2000.0, 175.0),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x has no figures of the load"),
        ("{}", "x has no figures"),
        ("Sending 1 read requests\nRun completed in 1.2.3 seconds", "x has no figures"),
        (f"Sending {'9' * 5000} read requests\nRun completed in 1.2 seconds", "x has no figures"),
        ("{" * 100_000, "x has no figures"),
        (fio(a_job(1, 1.0))[:-20], "x has no figures"),
        (fio(), "fio tells of no jobs"),
        (fio(a_job(1, 1.0, error=5)), "fio's job 'one' failed with error 5"),
        ('{"fio version": "3", "jobs": [3]}', "fio tells of no jobs"),
    ],
)
def test_what_is_no_witness_is_refused(text: str, message: str) -> None:
    with pytest.raises(WitnessError, match=message):
        parse_witness(text, "x")


def test_figures_that_are_no_numbers_are_not_known() -> None:
    job = a_job(10, 1.0)
    job["read"] = {"total_ios": 10, "iops": 10**400, "clat_ns": [3]}
    assert parse_witness(fio(job), "x") == (Told("read", 10),)


def test_a_load_that_left_nothing(tmp_path: Path) -> None:
    with pytest.raises(WitnessError, match=r"the load has left no fio\.json"):
        read_witness(tmp_path / "fio.json")
