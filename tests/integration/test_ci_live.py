"""The commands of the CI jobs as they are written, with shorter runs; all but the installing."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.targets import root_directory
from tests.cijobs import COMMANDS, ROOT, job_of

pytestmark = [pytest.mark.live, pytest.mark.timeout(280)]
_SETUP = ("make setup", "apt-get")


def test_the_jobs_do_what_they_say() -> None:
    with root_directory() as target:
        checkout = target.directory / "checkout"
        checkout.mkdir()
        for name in (".venv", "examples"):
            (checkout / name).symlink_to(ROOT / name)
        tools = target.directory / "bin"
        tools.mkdir()
        # the service's user becomes root by sudo; here we are
        (tools / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
        (tools / "sudo").chmod(0o755)
        summary = target.directory / "summary.md"
        env = os.environ | {"BENCH": "bench", "COUNT": "1500", "REPEATS": "1", "GITHUB_STEP_SUMMARY": str(summary)}
        env |= {"PATH": f"{tools}:{os.environ['PATH']}"}
        ran = [run(command, checkout, env) for command in commands()]
        assert len(ran) == 4, "doctor, bench, and what each service shows"
        assert (checkout / "bench/a/001.vio/manifest.json").exists()
        assert "<testsuite" in (checkout / "bench.xml").read_text()
        assert "| mean |" in summary.read_text()


def commands() -> Iterator[str]:
    """Give the commands of all jobs, each once: what one service does by sudo the other does as root."""
    seen = set()
    for service in sorted(COMMANDS):
        for command in COMMANDS[service](job_of(service)):
            words = command.removeprefix("sudo ")
            if words not in seen and not any(word in command for word in _SETUP):
                yield command
            seen.add(words)


def run(command: str, place: Path, env: dict[str, str]) -> str:
    shell = shutil.which("bash")
    assert shell
    words = [shell, "--noprofile", "--norc", "-eo", "pipefail", "-c", command]
    ran = subprocess.run(words, cwd=place, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    return command
