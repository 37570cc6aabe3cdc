"""A bench from its first run to its end, or broken off and resumed; only the recorder is made up."""

import io
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.commandline import Vio, vio

from vio.bencher import bench as bench_module
from vio.bencher import runs as runs_module
from vio.bencher import step as step_module
from vio.bencher.bench import bench
from vio.bencher.journal import read_journal
from vio.bencher.options import BenchOptions
from vio.bencher.scenario import Scenario
from vio.bencher.text import bench_text
from vio.bencher.witness import Told
from vio.comparer.comparison import Cell, Comparison, Figure, Verdict
from vio.comparer.comparison import Side as ComparedSide
from vio.comparer.values import WAITING
from vio.errors import ExitCode, RecordingError, UsageError, VioError
from vio.manifest import Cost, Counts, EndReason, LossTotals, State
from vio.recorder.progress import Progress
from vio.recorder.record import RecordOptions
from vio.recorder.summary import RecordSummary
from vio.terminal import render

__all__ = ["vio"]
DEMO = Path(__file__).parents[2] / "reporter/sample/demo.vio"
SCENARIO = """
[load]
command = ["qemu-img", "bench", "-t", "{cache}", "{run}"]
witness = "stdout"
[a]
name = "none"
values = { cache = "none" }
[b]
name = "writeback"
values = { cache = "writeback" }
[bench]
repeats = 2
aa = 2
warm-up = 0
settle = "0s"
"""
TOLD = "Sending 10 read requests, 4096 bytes each\nRun completed in 0.5 seconds.\n"
RUNS = 8
OURS = (Told("read", 1000, 20.0, 1e5, 9e4, 3e5),)


class FakeRecorder:
    """Stands for `record`: copies a recording, and does what a test asks for at the run of a number."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, ...]] = []
        self.at: dict[int, Callable[[], RecordSummary | None]] = {}

    def __call__(self, options: RecordOptions, progress: Progress) -> RecordSummary:
        self.commands.append(options.command)
        progress.note("the same each time")
        copy_recording(options.output)
        assert options.command_output is not None
        (options.command_output / "stdout.txt").write_text(TOLD)
        (options.command_output / "stderr.txt").write_text("")
        found = self.at[len(self.commands)]() if len(self.commands) in self.at else None
        return found or summary()


def copy_recording(place: Path) -> None:
    """Make what stands for a recording here: nothing in a bench but its figures reads more of it than the manifest."""
    place.mkdir()
    shutil.copy(DEMO / "manifest.json", place)


def summary(reason: EndReason = EndReason.TARGET_ENDED, exit_code: int = 0) -> RecordSummary:
    counts = Counts(rows=100, in_kernel=100)
    return RecordSummary(Path(), State.COMPLETE, reason, "", 1.0, counts, LossTotals(), Cost(), exit_code)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> FakeRecorder:
    fake = FakeRecorder()
    monkeypatch.setattr(step_module, "record", fake)
    monkeypatch.setattr(step_module, "_end", lambda pid: None)
    monkeypatch.setattr(bench_module, "compare", compared)
    monkeypatch.setattr(runs_module, "told_by", lambda _: OURS)
    return fake


def compared(base: Path, new: Path, options: object) -> Comparison:
    sides = [ComparedSide(str(path), tuple(sorted(one.name for one in path.iterdir()))) for path in (base, new)]
    return Comparison(sides[0], sides[1], Verdict.SLOWER if base.name == "a" else Verdict.SAME, ())


@pytest.fixture
def options(tmp_path: Path) -> BenchOptions:
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(SCENARIO)
    return BenchOptions(scenario, tmp_path / "out")


def test_a_whole_bench(recorder: FakeRecorder, options: BenchOptions) -> None:
    said: list[str] = []
    result = bench(options, said.append)
    caches = [command[3] for command in recorder.commands]
    assert caches == ["none"] * 4 + ["none", "writeback", "writeback", "none"]
    assert result.comparison is not None
    assert result.comparison.base.runs == result.comparison.new.runs == ("001.vio", "002.vio")
    assert (result.exit_code, result.aa and result.aa.verdict) == (ExitCode.FAILED, Verdict.SAME)
    assert said.count("note: the same each time") == 1
    assert said[0] == "run 1 of 8: none (noise, side 1, 1 of 2)"
    assert said[-1].startswith("run 8 of 8: none (a, 2 of 2); ")
    assert {one.run_count for one in result.noise} == {6}
    assert not (options.output / "running.vio").exists()


def test_an_aa_bench_runs_one_setting_and_judges_no_change(recorder: FakeRecorder, options: BenchOptions) -> None:
    result = bench(BenchOptions(options.scenario, options.output, is_aa=True), lambda _: None)
    assert {command[3] for command in recorder.commands} == {"none"}
    assert (result.comparison, result.exit_code, len(recorder.commands)) == (None, 0, 4)


FAILURES = {
    "exit code": (lambda: summary(exit_code=3), "the load ended with exit code 3", ExitCode.LOAD),
    "too long": (lambda: summary(EndReason.DURATION), "the load has not ended in 10m", ExitCode.LOAD),
    "bpftrace": (lambda: summary(EndReason.BPFTRACE_ENDED), "bpftrace ended before", ExitCode.HOST),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_what_was_recorded_is_kept_and_the_bench_goes_on(
    failure: str, recorder: FakeRecorder, options: BenchOptions
) -> None:
    act, message, code = FAILURES[failure]
    recorder.at = {6: act}
    with pytest.raises(VioError) as caught:
        bench(options, lambda _: None)
    assert f"run writeback (b, 1 of 2): {message}" in caught.value.message
    assert f"5 runs done and kept; go on with: vio bench {options.scenario} -o {options.output} --resume" in str(
        caught.value
    )
    assert caught.value.exit_code is code
    assert (options.output / "failed/b-001-1.vio/manifest.json").exists()
    assert len(list(options.output.glob("*/*/*.vio"))) == 4
    result = bench(BenchOptions(options.scenario, options.output, is_resumed=True), lambda _: None)
    assert len(recorder.commands) == RUNS + 1
    assert len(result.journal.runs) == RUNS
    assert result.journal.stops == 1


def test_a_run_without_io_has_failed(
    monkeypatch: pytest.MonkeyPatch, recorder: FakeRecorder, options: BenchOptions
) -> None:
    monkeypatch.setattr(runs_module, "told_by", lambda _: ())
    with pytest.raises(VioError, match="the load did no IO on the recorded disks") as caught:
        bench(options, lambda _: None)
    assert caught.value.exit_code is ExitCode.LOAD


def test_a_witness_of_another_time_is_none(recorder: FakeRecorder, options: BenchOptions) -> None:
    old = options.scenario.parent / "fio.json"
    old.write_text(TOLD)
    os.utime(old, (1e9, 1e9))
    options.scenario.write_text(SCENARIO.replace('"stdout"', f'"{old}"'))
    with pytest.raises(VioError, match=r"the load has left no new fio\.json"):
        bench(options, lambda _: None)


def test_a_witness_that_is_missing_is_a_load_that_failed(recorder: FakeRecorder, options: BenchOptions) -> None:
    options.scenario.write_text(SCENARIO.replace('"stdout"', '"{run}/fio.json"'))
    with pytest.raises(VioError, match=r"run none .*the load has left no fio\.json") as caught:
        bench(options, lambda _: None)
    assert caught.value.exit_code is ExitCode.LOAD


def test_ctrl_c_keeps_what_there_is(recorder: FakeRecorder, options: BenchOptions) -> None:
    recorder.at = {2: lambda: summary(EndReason.STOPPED)}
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        bench(options, said.append)
    assert said[-1].startswith("stopped; 1 run done and kept; go on with: vio bench")
    assert (options.output / "failed/stopped-1.vio").is_dir()
    assert len(read_journal(options.output).runs) == 1


def test_a_recording_that_a_killed_bench_left_is_set_apart(recorder: FakeRecorder, options: BenchOptions) -> None:
    recorder.at = {3: lambda: summary(exit_code=1)}
    with pytest.raises(VioError):
        bench(options, lambda _: None)
    copy_recording(options.output / "running.vio")
    # killed after a run was put in its place, and before that was written down
    copy_recording(options.output / "aa/2/002.vio")
    bench(BenchOptions(options.scenario, options.output, is_resumed=True), lambda _: None)
    assert (options.output / "failed/unfinished-1.vio").is_dir()
    assert (options.output / "failed/aa-2-002-2.vio").is_dir()


def test_another_scenario_is_not_gone_on_with(recorder: FakeRecorder, options: BenchOptions) -> None:
    bench(options, lambda _: None)
    options.scenario.write_text(SCENARIO.replace("repeats = 2", "repeats = 3"))
    again = BenchOptions(options.scenario, options.output, is_resumed=True)
    with pytest.raises(UsageError, match=r"has changed since this bench was begun, in \[bench\]"):
        bench(again, lambda _: None)


def test_another_machine_does_not_go_on(recorder: FakeRecorder, options: BenchOptions) -> None:
    bench(options, lambda _: None)
    path = options.output / "bench.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"host": "elsewhere"}))
    with pytest.raises(UsageError, match="this bench was begun on elsewhere; here is"):
        bench(BenchOptions(options.scenario, options.output, is_resumed=True), lambda _: None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not there: this is no bench"),
        ("{", "cannot be read"),
        ("[]", "an object is needed"),
        ('{"schema": {"major": 9, "minor": 0}}', "is of version 9, this vio knows 1"),
        ('{"schema": {"major": 1, "minor": 0}}', "lacks scenario"),
    ],
)
def test_a_journal_that_cannot_be_believed(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "bench.json").write_text(text)
    with pytest.raises(RecordingError, match=message):
        read_journal(tmp_path)


def test_a_place_that_is_taken_and_a_bad_set(vio: Vio, recorder: FakeRecorder, options: BenchOptions) -> None:
    options.output.mkdir()
    (options.output / "mine").touch()
    code, _, said = vio("bench", str(options.scenario), "-o", str(options.output))
    assert (code, "exists: go on with a bench there by --resume" in said) == (ExitCode.OUTPUT, True)
    code, _, said = vio("bench", str(options.scenario), "--set", "x")
    assert (code, said) == (ExitCode.USAGE, "vio: --set x sets nothing: write it as --set NAME=VALUE\n")
    code, _, said = vio("bench", "none.toml")
    assert (code, said.splitlines()) == (
        ExitCode.USAGE,
        ["vio: none.toml cannot be read: No such file or directory: give the path of a TOML file"],
    )


def test_the_command_line_shows_noise_and_witness(vio: Vio, recorder: FakeRecorder, options: BenchOptions) -> None:
    code, shown, _ = vio("bench", str(options.scenario), "-o", str(options.output))
    assert code == ExitCode.FAILED
    assert "noise of none, from 6 runs" in shown
    assert "none       read  IOs" in shown
    again = ("bench", str(options.scenario), "-o", str(options.output), "--resume", "--json")
    code, shown, _ = vio(*again)
    data = json.loads(shown)
    assert (code, data["comparison"]["verdict"], data["aa"]["verdict"], len(data["runs"])) == (
        ExitCode.FAILED,
        "slower",
        "same",
        RUNS,
    )
    assert len(recorder.commands) == RUNS
    documented = (DEMO.parents[2] / "docs/benching.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in documented for part in (data, data["noise"][0], data["witness"][0]) for key in part)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('fail-on = ["read.p98 > x"]', "read.p98 > x"),
        ('min-efect = "3%"', "min-efect"),
        ("min-effect = 3", "min-effect"),
    ],
)
def test_how_to_compare_is_read_before_the_first_run(
    line: str, message: str, recorder: FakeRecorder, options: BenchOptions
) -> None:
    options.scenario.write_text(f"{SCENARIO}[compare]\n{line}\n")
    with pytest.raises(UsageError, match=re.escape(message)):
        bench(options, lambda _: None)
    assert not recorder.commands


@pytest.mark.parametrize(("repeats", "runs"), [(1, 2), (3, 4 + 6)])
def test_the_command_line_may_ask_for_other_repeats(
    repeats: int, runs: int, recorder: FakeRecorder, options: BenchOptions
) -> None:
    bench(BenchOptions(options.scenario, options.output, repeats=repeats), lambda _: None)
    assert len(recorder.commands) == runs


def test_a_machine_that_is_busy_is_named(
    recorder: FakeRecorder, options: BenchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(base: Path, new: Path, how: object) -> Comparison:
        waits, mean = Figure(WAITING, 400.0, 400.0, 0.0), Figure("mean", 1000.0, 1000.0, 0.0)
        few = Cell("vda", "flush", "", (4, 4), refused="base has fewer than 10 of these IOs in a run")
        reads = Cell("vda", "read", "", (9, 9), (mean,), beside=(waits,))
        return replace(compared(base, new, how), cells=(few, reads))

    monkeypatch.setattr(bench_module, "compare", busy)
    result = bench(options, lambda _: None)
    shown = render(bench_text(result), io.StringIO())
    assert "read: 40.0% of the mean is waiting for a CPU: this machine is busy" in shown


@pytest.mark.parametrize(("place", "made"), [("", "out/image"), ("there", "there")])
def test_an_image_is_made_where_the_scenario_says(
    place: str, made: str, recorder: FakeRecorder, options: BenchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def put_back(image: object, source: object, where: Path) -> Path:
        asked.append(where)
        return where / "disk.raw"

    monkeypatch.setattr(step_module, "put_back", put_back)
    text = (
        SCENARIO.replace('"{run}"', '"{image}"')
        + f'[image]\nsize = "1M"\nplace = "{{place}}"\n[values]\nplace = "{place}"\n'
    )
    options.scenario.write_text(text)
    bench(options, lambda _: None)
    assert set(asked) == {options.scenario.parent / made}


def test_the_journal_keeps_the_scenario(recorder: FakeRecorder, options: BenchOptions) -> None:
    bench(options, lambda _: None)
    kept = read_journal(options.output).scenario
    assert isinstance(kept, Scenario)
    assert kept.load.command[3] == "{cache}"


def test_a_run_that_the_hypervisor_below_disturbed_is_made_again(recorder: FakeRecorder, options: BenchOptions) -> None:
    withhold = partial(withheld, options.output, 0.06)
    recorder.at = dict.fromkeys((2, 4, 5, 6), withhold)
    said: list[str] = []
    result = bench(options, said.append)
    runs = result.journal.runs
    assert [run.tries for run in runs] == [1, 2, 3, 1, 1, 1, 1, 1]
    assert [round(run.stolen_share, 3) for run in runs] == [0, 0, 0.06, 0, 0, 0, 0, 0]
    assert said.count("the hypervisor below withheld 6% of the CPUs: the run is made again") == 3
    assert len(list((options.output / "failed").iterdir())) == 3
    assert len(list(options.output.glob("*/*/*.vio"))) == 4
    shown = render(bench_text(result), io.StringIO())
    assert "runs made again, as the hypervisor below withheld more than 5.0% of the CPUs: 3" in shown
    assert "1 of 8 runs count though it did so each time" in shown


def test_a_scenario_may_let_disturbed_runs_count(recorder: FakeRecorder, options: BenchOptions) -> None:
    options.scenario.write_text(SCENARIO + 'most-stolen = "100%"\n')
    recorder.at = {2: partial(withheld, options.output, 0.5)}
    result = bench(options, lambda _: None)
    assert len(recorder.commands) == RUNS
    assert "withheld" not in render(bench_text(result), io.StringIO())


def withheld(output: Path, share: float) -> None:
    """Make the recording that runs one during which the hypervisor below withheld a share of the host's CPUs."""
    path = output / "running.vio/manifest.json"
    data = json.loads(path.read_text())
    duration_s = (data["clock"]["stop"]["boottime_ns"] - data["clock"]["start"]["boottime_ns"]) / 1e9
    data["stolen_cpu_s"] = share * duration_s * data["host"]["cpu_count"]
    path.write_text(json.dumps(data))
