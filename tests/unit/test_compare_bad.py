"""What `vio compare` is given that is not as it should be: a clear line for each, and the right exit code."""

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.commandline import Vio, vio
from tests.runs import INFO, a_run, some_runs

from vio.comparer.baseline import save_baseline
from vio.comparer.run import Key
from vio.losses import Loss, LossKind, losses_table
from vio.manifestfile import read_manifest

__all__ = ["vio"]
SAMPLE = Path(__file__).parents[2] / "reporter" / "sample" / "demo.vio"


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLE, tmp_path / "demo.vio", ignore=shutil.ignore_patterns("ios.*")))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    save_baseline(some_runs(1), tmp_path / "base.viobase")
    return tmp_path / "base.viobase"


def edited(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    data = json.loads(gzip.decompress(path.read_bytes()))
    change(data)
    path.write_bytes(gzip.compress(json.dumps(data).encode()))


def test_losses_are_at_the_top(vio: Vio, demo: Path) -> None:
    start_ns = read_manifest(demo).clock.start.boottime_ns
    pq.write_table(losses_table([Loss(LossKind.BUFFER, "cpu 0", 7, start_ns, start_ns + 1)]), demo / "losses.parquet")
    code, out, err = vio("compare", str(SAMPLE), str(demo))
    assert (code, err) == (0, "")
    (line,) = [line for line in out.splitlines() if line.startswith("records lost")]
    assert line.split() == ["records", "lost", "-", "demo.vio:", "7"]


def test_a_class_that_one_side_lacks_is_refused_and_the_others_are_compared(
    vio: Vio, tmp_path: Path, base: Path
) -> None:
    both = []
    for one, other in zip(some_runs(11), [a_run(n, key=Key("vda", "write", 12)) for n in range(21, 26)], strict=True):
        blocks = [replace(a, tallies=a.tallies | b.tallies) for a, b in zip(one.blocks, other.blocks, strict=True)]
        both.append(replace(one, blocks=tuple(blocks)))
    save_baseline(both, tmp_path / "both.viobase")
    code, out, _ = vio("compare", str(base), str(tmp_path / "both.viobase"))
    assert code == 0
    assert "vda write: not compared: base has no such IO" in out


def test_nothing_in_common_is_not_comparable(vio: Vio, tmp_path: Path, base: Path) -> None:
    save_baseline([a_run(n, key=Key("vda", "write", 12)) for n in range(11, 16)], tmp_path / "writes.viobase")
    code, out, err = vio("compare", str(base), str(tmp_path / "writes.viobase"))
    assert (code, err) == (3, "")
    assert out.startswith("NOT COMPARABLE: ")


def test_one_repeat_is_weak(vio: Vio, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("other", 2)):
        save_baseline([a_run(seed)], tmp_path / f"{name}.viobase")
    sides = [str(tmp_path / f"{name}.viobase") for name in ("one", "other")]
    code, out, _ = vio("compare", *sides)
    assert code == 0
    assert "WEAK: one run a side" in out
    assert vio("compare", *sides, "--strict")[0] == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(vio: Vio, base: Path, value: float) -> None:
    edited(base, lambda data: data["runs"][0]["info"].update(duration_s=value))  # type: ignore[index]
    code, out, err = vio("compare", str(base), str(base))
    assert (code, out) == (5, "")
    assert err.count("\n") == 1
    assert "is no number" in err


def test_a_figure_that_some_runs_lack_is_refused(vio: Vio, tmp_path: Path, base: Path) -> None:
    bare = []
    for one in some_runs(11):
        blocks = []
        for block in one.blocks:
            tallies = {
                key: replace(tally, rows={name: row for name, row in tally.rows.items() if "aio" not in name})
                for key, tally in block.tallies.items()
            }
            blocks.append(replace(block, tallies=tallies))
        bare.append(replace(one, blocks=tuple(blocks)))
    save_baseline(bare, tmp_path / "bare.viobase")
    code, out, _ = vio("compare", str(base), str(tmp_path / "bare.viobase"), "--json")
    assert code == 0
    (aio,) = [part for part in json.loads(out)["cells"][0]["parts"] if part["part"].startswith("qemu-aio")]
    assert aio["figures"][1]["why"] == "not in every run"
    assert aio["figures"][1]["new"] is None


def test_a_baseline_of_another_version_is_refused_and_of_a_newer_minor_one_read(
    vio: Vio, tmp_path: Path, base: Path
) -> None:
    newer = Path(shutil.copy(base, tmp_path / "newer.viobase"))
    edited(newer, lambda data: data["baseline"].update(minor=99))  # type: ignore[attr-defined]
    assert vio("compare", str(base), str(newer))[0] == 0
    edited(newer, lambda data: data["baseline"].update(major=99))  # type: ignore[attr-defined]
    code, out, err = vio("compare", str(base), str(newer))
    assert (code, out) == (5, "")
    assert err.endswith("is a baseline of version 99, this vio reads 1: upgrade vio\n")


def test_baselines_made_by_other_versions_of_vio_are_compared_and_said(vio: Vio, tmp_path: Path, base: Path) -> None:
    save_baseline([a_run(n, info=replace(INFO, vio="0.0.9")) for n in range(11, 16)], tmp_path / "old.viobase")
    code, out, _ = vio("compare", str(tmp_path / "old.viobase"), str(base))
    assert code == 0
    assert [line.split() for line in out.splitlines() if line.startswith("vio ")] == [["vio", "0.0.9", "0.1"]]


def test_a_baseline_does_not_know_depths(vio: Vio, base: Path) -> None:
    code, out, err = vio("compare", str(base), str(base), "--normalise")
    assert (code, out) == (2, "")
    assert err.endswith("does not say how many IOs were in flight: --normalise needs the recordings\n")
