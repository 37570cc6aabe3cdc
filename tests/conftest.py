"""What all tests share: a fixed terminal and time zone, and the rule for tests that trace for real."""

import os
from collections.abc import Generator
from functools import lru_cache

import pytest
from hypothesis import settings

from vio.recorder.host import read_host, try_bpf
from vio.recorder.lacks import missing

# The first example of a test may wait for a loop to be compiled.
settings.register_profile("vio", deadline=None)
settings.load_profile("vio")

REQUIRE_LIVE = "VIO_REQUIRE_LIVE"


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"COLUMNS": "80", "TZ": "UTC", "MPLBACKEND": "Agg"}.items():
        monkeypatch.setenv(name, value)


@lru_cache(maxsize=1)
def why_not_live() -> str:
    """Say why this machine cannot trace; "" if it can."""
    host = read_host()
    fatal = [lack for lack in missing(host) if lack.is_fatal]
    if fatal or host.bpftrace is None:
        return "; ".join(f"{lack.what} is missing ({lack.todo})" for lack in fatal)
    trial = try_bpf(host.bpftrace)
    return "" if trial.is_ok else f"bpftrace cannot run: {trial.why}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a live test where the machine cannot trace."""
    if item.get_closest_marker("live") and (why := why_not_live()):
        pytest.skip(f"this machine cannot trace: {why}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip of a live test into a failure where the machine can trace and VIO_REQUIRE_LIVE=1 says so."""
    report = yield
    is_demanded = os.environ.get(REQUIRE_LIVE) == "1" and item.get_closest_marker("live") is not None
    if is_demanded and report.skipped and not hasattr(report, "wasxfail") and not why_not_live():
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE_LIVE}=1, and this machine can trace, but the test was skipped: {report.longrepr}"
    return report
