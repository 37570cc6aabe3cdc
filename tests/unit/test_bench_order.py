"""The order of a bench's runs, and the time left."""

import pytest

from vio.bencher.clock import Clock, time_text
from vio.bencher.order import Side, steps


def test_settings_take_turns_in_beginning() -> None:
    assert "".join(step.side for step in steps(0, 4)) == "abbaabba"
    assert [step.number for step in steps(0, 2)] == [1, 1, 2, 2]


def test_noise_is_measured_first_and_under_one_setting() -> None:
    found = steps(2, 1)
    assert [step.group for step in found] == ["aa/1", "aa/2", "aa/2", "aa/1", "a", "b"]
    assert {step.setting for step in found[:4]} == {Side.A}
    assert [step.name for step in found[-2:]] == ["a-001", "b-001"]


@pytest.mark.parametrize("repeats", [1, 2, 3, 8])
def test_each_side_has_as_many_runs_and_no_name_comes_twice(repeats: int) -> None:
    found = steps(repeats, repeats)
    assert len({(step.group, step.number) for step in found}) == len(found) == 4 * repeats


def test_a_steady_drift_meets_both_settings_alike() -> None:
    at = {side: [n for n, step in enumerate(steps(0, 4)) if step.side is side] for side in Side}
    assert sum(at[Side.A]) == sum(at[Side.B])


def test_time_left_is_of_recorded_runs_only() -> None:
    clock = Clock(3)
    with clock.timed(is_recorded=False):
        pass
    assert (clock.place(), clock.left()) == ("run 2 of 3", "")
    with clock.timed():
        pass
    assert (clock.place(), clock.left()) == ("run 3 of 3", "; 0 s left")
    assert [time_text(seconds) for seconds in (40, 720, 12600)] == ["40 s", "12 min", "3.5 h"]
