"""The frequency that a lab host's kernel is told is the counter's, and none where there is no such counter."""

import platform

import pytest
from lab.hostclock import tsc_khz


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86_64 has a time stamp counter")
def test_it_is_measured_alike_each_time() -> None:
    first, second = tsc_khz(), tsc_khz()
    assert 100_000 < first < 10_000_000
    assert second == pytest.approx(first, rel=0.001)


def test_another_processor_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert tsc_khz() == 0
