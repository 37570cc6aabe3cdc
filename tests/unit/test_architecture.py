"""The rules that keep the code's shape: who imports whom, sizes, where printing is, and no return probes."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINKED = ("bencher", "comparer", "mappers", "probes", "recorder", "reporter")
SOURCES = sorted(
    path
    for place in ("src/vio", "recorder", "reporter", "comparer", "bencher", "mappers", "lab", "tools")
    for path in (ROOT / place).glob("**/*.py")
    if not any(parent.is_symlink() for parent in path.parents)
)
PROBES = sorted((ROOT / "probes").glob("**/*.bt"))
FILE_LINES, FUNCTION_LINES, MEDIAN_LINES = 400, 60, 120
# Only these print: the command line, and the lab's own programs.
PRINTERS = {"src/vio/cli.py", "src/vio/cli_stream.py", "lab/demo.py", "lab/bench.py", "lab/truth/__main__.py"}
# What each part may import of vio, besides itself. `core` is src/vio less the command line.
ALLOWED = {
    "core": set[str](),
    "mappers": {"core"},
    "recorder": {"core", "mappers"},
    "reporter": {"core", "mappers"},
    "comparer": {"core", "mappers", "reporter"},
    "bencher": {"core", "mappers", "recorder", "reporter", "comparer"},
    "cli": {"core", "mappers", "recorder", "reporter", "comparer", "bencher"},
}


def is_way_in(module: str) -> bool:
    # `vio.open`, in __init__, is as much a way in as a command is
    return module.startswith("cli") or module in {"__init__", "__main__", "commands"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def part_of(path: Path) -> str:
    first, *rest = path.relative_to(ROOT).parts
    if first != "src":
        return first
    return "cli" if is_way_in(rest[1].removesuffix(".py")) else "core"


def part_of_module(module: str) -> str:
    second = module.removeprefix("vio").removeprefix(".").split(".")[0]
    if second in LINKED:
        return second
    return "cli" if is_way_in(second) else "core"


def imported(path: Path) -> Iterator[str]:
    """Yield every module of vio that a file imports, in functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "vio")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "vio":
            # `from vio import recorder` imports vio.recorder
            yield from [f"vio.{alias.name}" for alias in node.names] if node.module == "vio" else [node.module]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    part = part_of(path)
    if part in {"lab", "tools"}:
        return
    wrong = [name for name in imported(path) if part_of_module(name) not in {part} | ALLOWED[part]]
    assert not wrong, f"{name_of(path)} is of {part}: it may import {sorted(ALLOWED[part])} and itself"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{node.name} has {length} lines"


def test_most_files_are_small() -> None:
    lengths = sorted(len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES)
    assert lengths[len(lengths) // 2] <= MEDIAN_LINES


def writes_to_terminal(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield f"print in line {node.lineno}"
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {
            "sys.stdout",
            "sys.stderr",
            "sys.exit",
            "typer.echo",
        }:
            yield f"{ast.unparse(node)} in line {node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_one_place_prints_and_exits(path: Path) -> None:
    if name_of(path) in PRINTERS or part_of(path) in {"lab", "tools"}:
        return
    found = list(writes_to_terminal(path))
    if name_of(path) == "src/vio/__main__.py":
        found = [what for what in found if not what.startswith("sys.exit")]
    assert not found


def test_links_and_lists_name_the_same_directories() -> None:
    package = ROOT / "src" / "vio"
    links = {path.name: path for path in package.iterdir() if path.is_symlink()}
    if not links:
        pytest.skip("not a checkout: the links are directories here")
    assert set(links) == set(LINKED)
    assert all(path.resolve() == ROOT / name for name, path in links.items())
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"][
        "wheel"
    ]
    assert set(wheel["only-include"]) == {"src/vio", *LINKED}
    assert set(wheel["exclude"]) == {f"/src/vio/{name}" for name in LINKED}
    assert wheel["sources"] == {"src": ""} | {name: f"vio/{name}" for name in LINKED}


def without_comments(text: str) -> str:
    return "\n".join(line.split("//")[0] for line in text.splitlines())


@pytest.mark.parametrize("path", PROBES, ids=name_of)
def test_no_probe_file_has_a_return_probe_in_qemu(path: Path) -> None:
    # A return probe on anything that may yield in a coroutine kills QEMU: law 1 of the recorder.
    assert not re.search(r"\buret\w*\s*:", without_comments(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_code_makes_a_return_probe(path: Path) -> None:
    if part_of(path) in {"lab", "tools"}:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not re.search(r"\b(uretprobe|kretprobe|kretfunc|fexit):", node.value)
