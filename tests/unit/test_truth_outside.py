"""Recordings with a known delay; `python -m lab.truth.outside --keep tests/data NAME` made each."""

import json
import shutil
from pathlib import Path

import pytest
from lab.truth.onhost import HOGGED_KERNEL_WORKER
from lab.truth.outside import EXPECTED, WAITS, judge

DATA = Path(__file__).parent.parent / "data"


@pytest.mark.parametrize("name", ["cluster-lock", HOGGED_KERNEL_WORKER])
def test_the_delay_is_charged_to_its_place(name: str, tmp_path: Path) -> None:
    shutil.copytree(DATA / f"{name}.vio", tmp_path / f"{name}.vio")
    shutil.copy(DATA / f"{name}.json", tmp_path)
    judged = judge(tmp_path, name)
    assert judged.is_met, judged
    assert judged.expected == EXPECTED[name]
    assert (judged.waited is None) == (name not in WAITS)
    known = json.loads((DATA / f"{name}.json").read_text())
    assert judged.touched_count == sum(len(one["took_ns"]) for one in known["slow"])
