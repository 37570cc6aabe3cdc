"""CPU time that the hypervisor below the host withheld: read from /proc/stat, and said in the report's head."""

from dataclasses import replace
from pathlib import Path

import pytest

from vio.recorder.procfs import HostRoots, read_stolen_s
from vio.recording import Recording
from vio.reporter.recorded import Recorded

SAMPLE = Path(__file__).parents[2] / "reporter/sample/demo.vio"


def test_it_is_the_eighth_time_of_all_cpus(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 800 9 10\ncpu0 1 2 3 4 5 6 7 400 9 10\n")
    assert read_stolen_s(HostRoots(proc=tmp_path)) == pytest.approx(8.0)


@pytest.mark.parametrize("text", ["", "intr 1 2\n", "cpu  1 2 3\n"])
def test_what_is_no_stat_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "stat").write_text(text)
    with pytest.raises(ValueError, match="/proc/stat"):
        read_stolen_s(HostRoots(proc=tmp_path))


def test_this_machine_tells() -> None:
    assert 0 <= read_stolen_s(HostRoots()) < 1e9


@pytest.mark.parametrize(("stolen_s", "shown"), [(None, ""), (0.0, ""), (0.005, ""), (0.25, "withheld 12.5%")])
def test_the_head_says_it_from_one_percent_on(stolen_s: float | None, shown: str) -> None:
    recorded = Recorded.of(Recording.open(SAMPLE))
    whole_s = recorded.duration_s * recorded.manifest.host.cpu_count / 2
    manifest = replace(recorded.manifest, stolen_cpu_s=None if stolen_s is None else stolen_s * whole_s)
    text = replace(recorded, manifest=manifest).host_text
    assert text.endswith(f"{shown})")
    assert ("withheld" in text) == bool(shown)
