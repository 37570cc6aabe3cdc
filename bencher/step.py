"""One run: put things back, let the load run under the recorder, and judge whether it did what it should."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from vio.bencher.beside import LoadBeside
from vio.bencher.image import drop_caches, put_back
from vio.bencher.order import Side
from vio.bencher.placeholders import Values, fill, fill_words
from vio.bencher.scenario import Scenario, values_of
from vio.bencher.witness import Told, read_witness
from vio.errors import ExitCode, HostError, OutputError, TargetError, VioError
from vio.manifest import EndReason
from vio.manifestfile import read_manifest
from vio.printable import printable
from vio.recorder.aim import OUTPUT_FILES
from vio.recorder.progress import Progress
from vio.recorder.record import RecordOptions, record
from vio.recorder.summary import RecordSummary

STDOUT = "stdout"
_END_S = 10.0
_POLL_S = 0.02
_CLOCK_GRAIN_S = 1.0  # what a file system's clock may be behind


class LoadError(VioError):
    """A run's load failed, did not end in time, or did nothing."""

    exit_code = ExitCode.LOAD


@dataclass(frozen=True, slots=True)
class Ready:
    """A run that can begin: its command with every word filled in, its directory, and where its figures will be.

    `made` is an image that was made for it, `began_s` Unix time.
    """

    command: tuple[str, ...]
    files: Path
    witness: Path | None
    made: Path | None
    began_s: float


def make_ready(scenario: Scenario, side: Side, here: Path, output: Path, files: Path) -> Ready:
    """Put image, caches and the run's directory into their state, and fill in the command.

    Raises:
        LoadError: a command that prepares failed.
        TargetError: the image cannot be made.
        HostError: the page cache cannot be dropped.
        OutputError: a directory cannot be written.
    """
    values: Values = {
        **values_of(scenario, scenario.a if side is Side.A else scenario.b),
        "run": str(files),
        "here": str(here),
    }
    _make_empty(files)
    made = None
    if scenario.image:
        image = replace(scenario.image, options=fill(scenario.image.options, values))
        source = here / fill(image.source, values) if image.source else None
        # the scenario may leave the place to a value, and that may be empty
        asked = fill(image.place, values)
        place = here / asked if asked else output / "image"
        path = put_back(image, source, place)
        made = None if path == source else path
        values["image"] = str(path)
    for words in scenario.load.prepare:
        _prepare(fill_words(words, values), scenario.limit_s)
    if scenario.bench.drop_caches:
        drop_caches()
    time.sleep(scenario.settle_s)
    witness = scenario.load.witness
    left = files / OUTPUT_FILES[0] if witness == STDOUT else Path(fill(witness, values)) if witness else None
    return Ready(fill_words(scenario.load.command, values), files, left, made, time.time())


def run_recorded(
    scenario: Scenario, ready: Ready, recording: Path, progress: Progress
) -> tuple[RecordSummary, tuple[Told, ...]]:
    """Run the load under the recorder; give what was recorded, and what the load says of itself.

    Raises:
        LoadError: it failed or did not end in time; what was recorded is kept.
        KeyboardInterrupt: the user stopped it; likewise.
        VioError: as of `vio.recorder.record`.
    """
    limit_s, disks = scenario.limit_s, scenario.load.disks
    if scenario.load.vm:
        beside = LoadBeside(ready.command, ready.files, progress)
        options = RecordOptions(recording, vm=scenario.load.vm, disks=disks, duration_s=limit_s)
        summary = record(options, beside)
        exit_code = beside.exit_code
    else:
        options = RecordOptions(
            recording, command=ready.command, disks=disks, duration_s=limit_s, command_output=ready.files
        )
        summary = record(options, progress)
        exit_code = summary.exit_code
        if summary.reason in {EndReason.DURATION, EndReason.STOPPED, EndReason.BPFTRACE_ENDED}:
            _end(read_manifest(recording).target.pid)
    _judge(scenario, ready, summary, exit_code)
    return summary, _told(ready)


def _judge(scenario: Scenario, ready: Ready, summary: RecordSummary, exit_code: int | None) -> None:
    """Raise what is wrong with a run; with a `vm`, an exit code is there if the load ended, and so the recording."""
    is_beside = bool(scenario.load.vm)
    if summary.reason is EndReason.STOPPED and not (is_beside and exit_code is not None):
        raise KeyboardInterrupt
    if summary.reason is EndReason.DURATION:
        raise LoadError(f"the load has not ended in {scenario.load.limit}", "load.limit gives it more time")
    if summary.reason is EndReason.BPFTRACE_ENDED:
        raise HostError(f"bpftrace ended before it was asked to ({printable(summary.detail)})", "`vio doctor`")
    if exit_code:
        raise _failed(ready, exit_code)
    if is_beside and exit_code is None:
        raise LoadError(f"the VM {printable(scenario.load.vm)} ended before the load did", "start it again")


def run_unrecorded(scenario: Scenario, ready: Ready) -> None:
    """Run the load to warm the machine up.

    Raises:
        LoadError: it failed, or did not end in time.
    """
    with _outputs(ready.files) as (out, err):
        try:
            ran = subprocess.run(
                ready.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=scenario.limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LoadError(
                f"the load has not ended in {scenario.load.limit}", "load.limit gives it more time"
            ) from None
        except OSError as error:
            raise TargetError(
                f"{printable(ready.command[0])} cannot be run: {error.strerror}", "give its path"
            ) from None
    if ran.returncode:
        raise _failed(ready, ran.returncode)
    _told(ready)


def _told(ready: Ready) -> tuple[Told, ...]:
    if ready.witness is None:
        return ()
    try:
        told = read_witness(ready.witness)
        is_old = ready.witness.stat().st_mtime < ready.began_s - _CLOCK_GRAIN_S
    except VioError as error:
        raise LoadError(error.message, error.hint or f"what it said is in {ready.files}") from None
    if is_old:
        raise LoadError(f"the load has left no new {ready.witness.name}", "see load.witness: this one is older")
    return told


def _failed(ready: Ready, code: int) -> LoadError:
    said = (ready.files / OUTPUT_FILES[1]).read_text(errors="replace").strip().splitlines()
    # some programs say first what is wrong, others last
    shown = "".join(f": {printable(line[:200])}" for line in dict.fromkeys([*said[:1], *said[-1:]]))
    return LoadError(f"the load ended with exit code {code}{shown}", f"what it said is in {ready.files}")


def _prepare(words: tuple[str, ...], limit_s: float) -> None:
    shown = printable(" ".join(words))[:80]
    try:
        ran = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", "") or "it has not ended in time"
        raise LoadError(f"load.prepare: {shown} failed: {reason}", "run it by hand") from None
    if ran.returncode:
        said = printable((ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1])
        raise LoadError(f"load.prepare: {shown} failed: {said}", "run it by hand")


def _make_empty(files: Path) -> None:
    """Make the run's directory; what an earlier attempt at this run has left must not be taken for this one's."""
    try:
        if files.exists():
            shutil.rmtree(files)
        files.mkdir(parents=True)
    except OSError as error:
        raise OutputError(
            f"{printable(str(files))} cannot be made: {error.strerror}", "choose another with -o"
        ) from None


@contextmanager
def _outputs(files: Path) -> Iterator[list[int]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context((files / name).open("wb")).fileno() for name in OUTPUT_FILES]


def _end(pid: int) -> None:
    """End a load that runs on after its recording. It is our child and not waited for, so the pid is still its own."""
    with contextlib.suppress(ChildProcessError, ProcessLookupError):
        for number in (signal.SIGTERM, signal.SIGKILL):
            until_s = time.monotonic() + _END_S
            is_told = False
            while time.monotonic() < until_s:
                if os.waitpid(pid, os.WNOHANG) != (0, 0):
                    return
                if not is_told:
                    os.kill(pid, number)
                    is_told = True
                time.sleep(_POLL_S)
