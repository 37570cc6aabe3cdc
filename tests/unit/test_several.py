"""`vio report` on several recordings: one table, names kept, the figures of each recording's own report."""

import json
import shutil
from pathlib import Path

import pytest
from tests.commandline import Vio, vio

__all__ = ["vio"]
SAMPLE = Path(__file__).parents[2] / "reporter" / "sample" / "demo.vio"
SCSI = Path(__file__).parents[1] / "data" / "scsi.vio"


@pytest.fixture
def both(tmp_path: Path) -> list[str]:
    for source in (SAMPLE, SCSI):
        shutil.copytree(source, tmp_path / source.name)
    return [str(tmp_path / source.name) for source in (SAMPLE, SCSI)]


def test_a_row_for_each_disk_and_operation(vio: Vio, both: list[str]) -> None:
    code, out, _ = vio("report", *both)
    rows = [line.split() for line in out.partition("\n\n")[0].splitlines()[1:]]
    assert code == 0
    alone = [json.loads(vio("report", one, "--json")[1]) for one in both]
    for name, report in zip(("demo.vio", "scsi.vio"), alone, strict=True):
        mine = [row for row in rows if row[0] == name]
        assert {row[1] for row in mine} == {report["recording"]["host"]["name"]}
        assert {row[2] for row in mine} == {report["recording"]["target"]["name"]}
        for disk in report["disks"]:
            assert sum(int(row[5].replace(",", "")) for row in mine if row[3] == disk["disk"]) == disk["io_count"]
        for op in report["ops"]:
            assert sum(int(row[5].replace(",", "")) for row in mine if row[4] == op["op"]) == op["io_count"]


def test_json_is_a_list_of_reports(vio: Vio, both: list[str]) -> None:
    together = json.loads(vio("report", *both, "--json", "--op", "read")[1])
    assert together == [json.loads(vio("report", one, "--json", "--op", "read")[1]) for one in both]


@pytest.mark.parametrize(
    "words", [("--io", "1"), ("--plot", "x.png"), ("--output", "x"), ("--by", "file"), ("--stages",)]
)
def test_what_is_of_one_recording_is_refused(vio: Vio, both: list[str], words: tuple[str, ...]) -> None:
    code, out, err = vio("report", *both, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "one" in err
