"""The CI jobs of examples/ci: valid YAML, of the shape that the services read, with commands that vio has."""

import re
from collections.abc import Iterator

import pytest
from tests.cijobs import COMMANDS, ROOT, job_of

from vio.bencher.scenario import read_scenario, values_of
from vio.comparer.settings import Given, options_of

SERVICES = sorted(COMMANDS)


def vio_lines(service: str) -> Iterator[str]:
    for command in COMMANDS[service](job_of(service)):
        yield from re.findall(r"\.venv/bin/vio .*", command)


@pytest.mark.parametrize("service", SERVICES)
def test_a_job_benches_and_compares_with_one_scenario(service: str) -> None:
    lines = list(vio_lines(service))
    assert [line.split()[1] for line in lines] == ["doctor", "bench", "compare"]
    scenarios = {word for line in lines for word in line.replace(")", "").split() if word.endswith(".toml")}
    assert scenarios == {"examples/ci/bench.toml"}


@pytest.mark.parametrize("service", SERVICES)
def test_each_variable_of_a_command_is_set_by_the_job(service: str) -> None:
    job = job_of(service)
    used = set(re.findall(r"\$([A-Z_]+)", "\n".join(COMMANDS[service](job))))
    given = job.get("env") or job.get("variables")
    assert isinstance(given, dict)
    assert used - {"GITHUB_STEP_SUMMARY"} == set(given)


def test_every_scenario_that_is_shipped_is_read() -> None:
    found = sorted((ROOT / "examples").glob("*/*.toml"))
    assert {path.name for path in found} >= {"bench.toml", "cache.toml", "guest-fio.toml"}
    for path in found:
        scenario = read_scenario(path)
        assert values_of(scenario, scenario.a) != values_of(scenario, scenario.b) or scenario.a.name == "base"
        options_of(Given(), path)


def test_no_example_names_a_host_or_a_place_of_one_machine() -> None:
    for path in (ROOT / "examples").glob("*/*.*"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://|/home/|/work/|/root/", text), path
