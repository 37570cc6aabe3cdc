"""The documentation is that of the code beside it."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from vio.cli import app
from vio.errors import ExitCode
from vio.recorder.checkup import PROBES
from vio.recorder.probe import load_probes

REPOSITORY = Path(__file__).parent.parent.parent
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])


def page(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_the_recording_format_is_not_stale() -> None:
    checked = subprocess.run([sys.executable, "tools/docs.py", "--check"], cwd=REPOSITORY, check=False, timeout=60)
    assert checked.returncode == 0, "docs/recording-format.md is stale: run `make docs`"


def test_the_manual_page_is_not_stale() -> None:
    checked = subprocess.run([sys.executable, "tools/man.py", "--check"], cwd=REPOSITORY, check=False, timeout=60)
    assert checked.returncode == 0, "docs/vio.1 is stale: run `make docs`"


def test_the_manual_page_names_every_command_and_exit_code() -> None:
    text = page("docs/vio.1")
    for command in app.registered_commands:
        assert f".SS vio {command.name or (command.callback and command.callback.__name__)} " in text
    assert not [code for code in ExitCode if f".B {int(code)}\n" not in text]


def test_the_manual_page_is_good_roff() -> None:
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    asked = ["groff", "-man", "-Tascii", "-ww", "docs/vio.1"]
    done = subprocess.run(asked, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert "://" in target or (path.parent / target).exists(), f"{path.name} links to {target}"


def keys_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)


def test_every_key_of_the_json_report_is_documented() -> None:
    text = page("docs/report-json.md")
    missing = {
        key
        for key in keys_of(json.loads(page("tests/golden/report-faulty.json")))
        if not re.search(rf"\b{key}\b", text)
    }
    assert not missing


def test_every_option_in_the_readme_exists() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    commands |= {group.name or "" for group in app.registered_groups}
    for line in re.findall(r"^    (vio .*)$", page("README.md"), re.MULTILINE):
        words = line.split("#")[0].split(" -- ")[0].split()
        assert words[1] in commands, line
        asked = [sys.executable, "-m", "vio", words[1], "--help"]
        shown = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout
        assert all(re.search(rf"{re.escape(word)}\b", shown) for word in words if word.startswith("-")), line


def test_every_dependency_is_explained() -> None:
    text = page("docs/dependencies.md")
    project = tomllib.loads(page("pyproject.toml"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[<>=\[;]", one)[0].strip() for one in wanted}
    packages = re.search(r"^packages=\((.*)\)$", page("tools/setup.sh"), re.MULTILINE)
    assert packages
    missing = {name for name in names | set(packages[1].split()) if name.lower() not in text.lower()}
    assert not missing


def test_every_probe_file_is_listed() -> None:
    text = page("docs/probes.md")
    files = {Path(point.source).name for point in load_probes(PROBES)}
    assert files == set(re.findall(r"^\| `(\w+\.bt)` \|", text, re.MULTILINE))
