"""`vio top` on the command line: what is refused, and what is shown of a watch (the watch itself is made up)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.commandline import Vio, roots, vio
from tests.unit.test_top import sample

from vio.errors import ExitCode, HostError
from vio.recorder.top import filewatch, watch
from vio.recorder.top.figures import Frame
from vio.recorder.top.target import Watched
from vio.recorder.top.watch import WatchOptions

__all__ = ["roots", "vio"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["web"], "web stands without an option: --vm NAME watches a VM"),
        (["--by", "disk"], "--by disk is not known: layer and file are"),
        (["--by", "file", "--vm", "a"], "--by file is of all processes, or of one"),
        (["--interval", "10ms"], "an interval of 10ms is too short"),
        (["--interval", "soon"], "'soon' is no duration"),
        (["--count", "-1"], "Invalid value for '--count'"),
    ],
)
def test_wrong_words_are_one_line(vio: Vio, words: list[str], said: str) -> None:
    code, out, err = vio("top", *words)
    assert (code, out) == (ExitCode.USAGE, "")
    assert said in err
    assert err.count("\n") == 1


def test_two_targets_are_too_many() -> None:
    with pytest.raises(Exception, match="more than one of --vm, --pid and a command"):
        watch.watching(WatchOptions(vm="a", pid=1)).__enter__()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[WatchOptions]:
    seen: list[WatchOptions] = []

    @contextmanager
    def watching(options: WatchOptions) -> Iterator[tuple[Watched, Iterator[Frame]]]:
        seen.append(options)
        yield Watched("web1 (pid 7)", "web1", 7, ("push: it has no such function",)), iter([sample(), sample()])

    monkeypatch.setattr(watch, "watching", watching)
    return seen


def test_a_pipe_gets_a_page_for_each_refresh(vio: Vio, watched: list[WatchOptions]) -> None:
    code, out, err = vio("top", "--vm", "web1", "--disk", "vda", "--interval", "2s", "--count", "2")
    assert code == 0
    assert watched == [WatchOptions("web1", None, (), ("vda",), 2.0, 2)]
    pages = out.split("\n\n")
    assert [page.splitlines()[0][:13] for page in pages] == ["web1 (pid 7),"] * 2
    assert "\x1b" not in out
    assert err == "vio: push: it has no such function\nvio: watching web1 (pid 7): Ctrl-C ends it\n"


def test_json_is_one_object_a_line(vio: Vio, watched: list[WatchOptions]) -> None:
    code, out, _ = vio("top", "--json")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 2
    assert all(json.loads(line)["name"] == "web1" for line in lines)


def test_a_host_that_cannot_trace_is_one_line(vio: Vio, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise HostError("this host cannot trace: bpftrace is missing", "install it")

    monkeypatch.setattr(watch, "able_host", refuse)
    monkeypatch.setattr(filewatch, "able_host", refuse)
    for words in (["--pid", "1"], ["--by", "file"]):
        code, out, err = vio("top", *words)
        assert (code, out) == (ExitCode.HOST, "")
        assert err == "vio: this host cannot trace: bpftrace is missing: install it\n"
