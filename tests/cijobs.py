"""The CI jobs of examples/ci, read as their services read them: the shell commands of the job, in order."""

from collections.abc import Callable
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
Job = dict[str, object]


def job_of(service: str) -> Job:
    """Read the only job of examples/ci/SERVICE.yml."""
    data = yaml.safe_load((ROOT / f"examples/ci/{service}.yml").read_text(encoding="utf-8"))
    jobs = data["jobs"] if service == "github" else data
    assert list(jobs) == ["bench"]
    job: Job = jobs["bench"]
    return job


def _of_github(job: Job) -> list[str]:
    steps = job["steps"]
    assert isinstance(steps, list)
    assert all(("run" in step) != ("uses" in step) for step in steps)
    return [step["run"] for step in steps if "run" in step]


def _of_gitlab(job: Job) -> list[str]:
    return [line for part in ("before_script", "script", "after_script") for line in _lines(job[part])]


def _lines(part: object) -> list[str]:
    assert isinstance(part, list)
    assert all(isinstance(line, str) for line in part)
    return part


COMMANDS: dict[str, Callable[[Job], list[str]]] = {"github": _of_github, "gitlab": _of_gitlab}
