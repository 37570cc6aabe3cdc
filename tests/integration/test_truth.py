"""Known delays in known places: the report charges them there, and nowhere else. docs/truth.md says what and why."""

import os
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from lab.truth.attribution import GOAL, SPILL_LIMIT
from lab.truth.injections import INJECTIONS
from lab.truth.play import Injection
from lab.truth.runner import NOT_HERE, Result, run
from lab.truth.scene import CACHED, OVERLAY
from lab.truth.table import figures

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    if os.geteuid() != 0 or not Path("/dev/fuse").exists() or not Path("/dev/loop-control").exists():
        pytest.skip("needs root, /dev/fuse and loop devices")
    folder = tmp_path_factory.mktemp("truth")
    first = run(INJECTIONS, folder / "truth.vio")
    # A stall of the machine in the wrong moment is a delay that nobody injected: such an injection is played again.
    missed = [one.injection for one in first.outcomes if one.is_missed]
    return first.amended(run(missed, folder / "again.vio")) if missed else first


def test_every_injection_is_played(result: Result) -> None:
    wrong = {one.injection.name: one.problem for one in result.outcomes if one.problem.startswith("failed")}
    assert not wrong


def test_all_times_add_up_whatever_is_delayed(result: Result) -> None:
    findings = result.findings
    assert findings.losses == {}
    assert findings.exact_count == findings.io_count - findings.lacks.get("its end", 0)


@pytest.mark.parametrize("injection", INJECTIONS, ids=lambda injection: injection.name)
def test_the_delay_is_charged_where_it_was_put(result: Result, injection: Injection) -> None:
    outcome = result.of(injection.name)
    if outcome.problem.startswith(NOT_HERE):
        pytest.skip(outcome.problem)
    judged = outcome.judged
    assert judged is not None, outcome.problem
    assert GOAL <= judged.attribution <= 2 - GOAL, f"\n{figures(result)}"
    assert judged.spill < SPILL_LIMIT, f"\n{figures(result)}"
    assert (judged.waited is None) == (injection.wait is None)
    if judged.waited is not None:
        assert GOAL <= judged.waited <= 2 - GOAL, f"\n{figures(result)}"


@pytest.mark.parametrize(
    ("name", "column", "disk"), [("small-l2-cache", "metadata_ns", CACHED), ("copy-on-write", "cow_ns", OVERLAY)]
)
def test_what_is_not_for_the_data_shows_as_such(result: Result, name: str, column: str, disk: int) -> None:
    judged = result.of(name).judged
    assert judged is not None
    each_ns = judged.injected_ns / judged.touched_count
    ios = result.findings.ios
    shown_ns = ios.filter(pc.equal(ios["disk"], disk))[column].drop_null().to_numpy()
    delayed_ns = shown_ns[shown_ns > each_ns / 2]
    assert delayed_ns.size >= judged.touched_count
    # The lower quartile: what else the machine does can only add to some of them.
    assert GOAL <= np.quantile(delayed_ns, 0.25) / each_ns <= 2 - GOAL
