"""What all tests share: a fixed terminal and time zone, and the rules for tests that trace for real."""

import os
import signal
from collections.abc import Generator
from functools import lru_cache

import pytest
from hypothesis import settings
from lab.host import check_needs
from lab.scratch import sweep

from vio.errors import HostError
from vio.recorder.host import read_host, try_bpf
from vio.recorder.lacks import missing

# The first example of a test may wait for a loop to be compiled.
settings.register_profile("vio", deadline=None)
settings.load_profile("vio")

REQUIRE_LIVE = "VIO_REQUIRE_LIVE"
REQUIRE_LAB = "VIO_REQUIRE_LAB"


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


@lru_cache(maxsize=1)
def why_not_lab() -> str:
    """Say why this machine cannot boot a lab host; "" if it can."""
    try:
        check_needs()
    except HostError as error:
        return f"{error.message} ({error.hint})"
    return ""


def pytest_sessionstart() -> None:
    """Put back what a run that was killed has left mounted, and Ctrl-C: a shell's background jobs ignore it.

    What ignores a signal hands that on to the programs that it starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.geteuid() == 0:
        sweep()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a live test where the machine cannot trace, and a lab test where it cannot boot a host."""
    if item.get_closest_marker("live") and (why := why_not_live()):
        pytest.skip(f"this machine cannot trace: {why}")
    if item.get_closest_marker("lab") and (why := why_not_lab()):
        pytest.skip(f"this machine cannot boot a lab host: {why}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test that the machine can run into a failure, where the environment demands such tests.

    VIO_REQUIRE_LIVE=1 does so for tests that trace, VIO_REQUIRE_LAB=1 for those on a lab host.
    """
    report = yield
    if not report.skipped or hasattr(report, "wasxfail"):
        return report
    for switch, marker, why_not in ((REQUIRE_LIVE, "live", why_not_live), (REQUIRE_LAB, "lab", why_not_lab)):
        is_demanded = os.environ.get(switch) == "1" and item.get_closest_marker(marker) is not None
        if is_demanded and not why_not():
            report.outcome = "failed"
            report.longrepr = f"{switch}=1, and this machine can run it, but the test was skipped: {report.longrepr}"
    return report
