"""Durations and stretches of time as users type them."""

import pytest

from vio.errors import UsageError
from vio.quantity import NO_END_S, parse_duration_s, parse_stretch_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10", 10), ("10s", 10), ("1.5", 1.5), (".5s", 0.5), ("500ms", 0.5), ("2m", 120), ("1h", 3600), (" 3s ", 3)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0", "0s", "-1", "s", "1d", "1 s", "1e3", "nan", "inf", "٣", "9" * 400, "1s2s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration_s(text)
    assert caught.value.hint
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "stretch"),
    [("1:2", (1, 2)), ("1.5s:3s", (1.5, 3)), ("10:", (10, NO_END_S)), (":2m", (0, 120)), (":", (0, NO_END_S))],
)
def test_stretches(text: str, stretch: tuple[float, float]) -> None:
    assert parse_stretch_s(text) == pytest.approx(stretch)


@pytest.mark.parametrize("text", ["", "3", "2:1", "1:1", "a:b", "1:2:3", "-1:2"])
def test_no_stretches(text: str) -> None:
    with pytest.raises(UsageError):
        parse_stretch_s(text)
