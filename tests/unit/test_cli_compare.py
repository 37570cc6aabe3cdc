import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tests.runs import a_run, some_runs

from vio.cli import run
from vio.comparer.baseline import MAX_RUN_BYTES, load_baseline, save_baseline
from vio.errors import RecordingError

SAMPLE = Path(__file__).parents[2] / "reporter" / "sample" / "demo.vio"


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A copy of the sample, into which the table of IOs can be written."""
    return Path(shutil.copytree(SAMPLE, tmp_path / "demo.vio", ignore=shutil.ignore_patterns("ios.*")))


@pytest.fixture
def sides(tmp_path: Path) -> tuple[str, str]:
    save_baseline(some_runs(1), tmp_path / "base.viobase")
    save_baseline(some_runs(11, device_ns=1_000_000), tmp_path / "new.viobase")
    return str(tmp_path / "base.viobase"), str(tmp_path / "new.viobase")


def test_the_answer_comes_first(sides: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", *sides]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "SLOWER: the new side is slower than the base."
    assert lines[1].startswith("vda read: slower: mean +")
    assert "\x1b" not in "".join(lines)


def test_the_other_way_round_is_no_failure(sides: tuple[str, str]) -> None:
    assert run(["compare", *sides[::-1]]) == 0


def test_forms_for_machines(sides: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    junit, page = tmp_path / "out.xml", tmp_path / "out.html"
    assert run(["compare", *sides, "--json", "--junit", str(junit), "--html", str(page)]) == 1
    data = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(word))
    assert data["verdict"] == "slower"
    assert data["cells"][0]["parts"][0]["part"] == "device"
    suite = ET.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert "data:image/png" in page.read_text(encoding="utf-8")


def test_markdown_is_for_a_pull_request(sides: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", *sides, "--markdown"]) == 1
    text = capsys.readouterr().out
    assert text.startswith("### ")
    assert "| mean |" in text


def test_options_of_a_file_give_way_to_those_typed(sides: tuple[str, str], tmp_path: Path) -> None:
    config = tmp_path / "vio.toml"
    config.write_text("[compare]\nmin-effect = '40%'\nfail-on = ['read.mean > 50%']\n", encoding="utf-8")
    assert run(["compare", *sides, "--config", str(config)]) == 0
    assert run(["compare", *sides, "--config", str(config), "--fail-on", "read.mean > 3%"]) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[compare]\nmin-efect = '1%'\n", "not known"),
        ("[compare]\nmin-effect = 5\n", "no share"),
        ("[compare]\nfail-on = 'read.mean > 1%'\n", "no list"),
        ("[compare]\nstrict = 1\n", "neither true nor false"),
        ("compare = 1\n", "no table"),
        ("[compare", "no TOML"),
    ],
)
def test_a_bad_file_of_options_is_usage(
    sides: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, why: str
) -> None:
    config = tmp_path / "vio.toml"
    config.write_text(text, encoding="utf-8")
    assert run(["compare", *sides, "--config", str(config)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert why in line


@pytest.mark.parametrize("words", [["--min-effect", "5"], ["--min-effect", "0%"], ["--false-alarms", "90%"]])
def test_impossible_shares_are_usage(sides: tuple[str, str], words: list[str]) -> None:
    assert run(["compare", *sides, *words]) == 2


def test_a_recording_against_itself_is_not_slower(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", str(demo), str(demo)]) == 0
    out = capsys.readouterr().out
    assert "WEAK: one run a side" in out
    assert "virtio0 read" in out
    assert run(["compare", str(demo), str(demo), "--strict"]) == 2
    assert run(["compare", str(demo), str(demo), "--normalise", "--json"]) in {0, 3}


def test_repeats_lie_in_a_directory(demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for side in ("a", "b"):
        for name in ("1.vio", "2.vio"):
            shutil.copytree(demo, tmp_path / side / name)
    assert run(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "2 runs against 2" in capsys.readouterr().out


def test_bad_sides_are_one_line(demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    newer = Path(shutil.copytree(demo, tmp_path / "newer.vio"))
    manifest = json.loads((newer / "manifest.json").read_text(encoding="utf-8"))
    (newer / "manifest.json").write_text(json.dumps(manifest | {"schema": {"major": 99, "minor": 0}}), encoding="utf-8")
    for side in ("absent.vio", "empty", "newer.vio"):
        assert run(["compare", str(demo), str(tmp_path / side)]) == 5
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_recording_cut_short_is_compared_and_said(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = demo / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    manifest["state"], manifest["clock"]["stop"] = "running", None
    file.write_text(json.dumps(manifest), encoding="utf-8")
    assert run(["compare", str(SAMPLE), str(demo)]) == 0
    assert "cut short" in capsys.readouterr().out


def test_a_baseline_gives_back_what_was_saved(tmp_path: Path) -> None:
    runs = [a_run(1, count=100_000)]
    path = tmp_path / "one.viobase"
    assert save_baseline(runs, path) < MAX_RUN_BYTES
    (back,) = load_baseline(path)
    assert back.info == runs[0].info
    for key, tally in runs[0].whole().tallies.items():
        mine = back.whole().tallies[key]
        assert mine.io_count == tally.io_count
        assert all(
            mine.rows[n].quantiles_ns((0.5, 0.999)) == r.quantiles_ns((0.5, 0.999)) for n, r in tally.rows.items()
        )


def damaged(path: Path, old: str, new: str) -> None:
    import gzip

    text = gzip.decompress(path.read_bytes()).decode()
    assert old in text
    path.write_bytes(gzip.compress(text.replace(old, new, 1).encode()))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"major":1', '"major":2', "version 2"),
        ('"baseline":', '"base":', "is not a baseline"),
        ('"duration_s":10.0', '"duration_s":NaN', "NaN is no number"),
        ('"io_count":200', '"io_count":1', "do not agree"),
        ('"op":"read"', '"op":"dance"', "do not agree"),
        ('"counts":"1:', '"counts":"7:', "cannot be"),
        ('"total_ns":', '"total_ns":-', "cannot be"),
        ('"end_ns":1000000000', '"end_ns":-1', "cannot be"),
    ],
)
def test_a_damaged_baseline_is_refused(tmp_path: Path, old: str, new: str, why: str) -> None:
    path = tmp_path / "one.viobase"
    save_baseline([a_run(1)], path)
    damaged(path, old, new)
    with pytest.raises(RecordingError, match=why):
        load_baseline(path)


def test_a_baseline_cut_short_is_refused(sides: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(sides[0])
    path.write_bytes(path.read_bytes()[:500])
    assert run(["compare", *sides]) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert "damaged" in line


def test_baselines_are_saved_listed_and_shown(demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["baseline", "save", str(demo), str(tmp_path / "main")]) == 0
    assert run(["baseline", "save", str(demo), str(tmp_path / "main")]) == 6
    assert run(["baseline", "list", str(tmp_path)]) == 0
    assert "main.viobase" in capsys.readouterr().out
    assert run(["baseline", "show", str(tmp_path / "main.viobase")]) == 0
    assert "virtio0 write" in capsys.readouterr().out
    assert run(["baseline", "list", str(demo)]) == 5
    assert run(["compare", str(tmp_path / "main.viobase"), str(demo), "--normalise"]) == 2


def test_a_trend_marks_where_a_figure_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dataclasses import replace

    for day in range(10):
        runs = some_runs(10 * day, count=3, device_ns=900_000 if day < 6 else 1_100_000)
        dated = [replace(one, info=replace(one.info, started_ns=10**18 + day * 10**14)) for one in runs]
        save_baseline(dated, tmp_path / f"day{day}.viobase")
    assert run(["trend", str(tmp_path), "--figure", "read.device.mean", "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert [point["is_change"] for point in points].index(True) == 6
    assert sum(point["is_change"] for point in points) == 1
    assert run(["trend", str(tmp_path), "--plot", str(tmp_path / "trend.png")]) == 0
    assert "changed at day6" in capsys.readouterr().out
    assert run(["trend", str(tmp_path), "--figure", "write.mean"]) == 2
