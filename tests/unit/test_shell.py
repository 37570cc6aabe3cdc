"""What a shell and a terminal get: completion of commands and options, and no colours where they are not wanted."""

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lab.demo import SAMPLE

COLOUR = re.compile(rb"\x1b\[[0-9;]*(?:3[0-9]|4[0-9]|9[0-7]|10[0-7])[0-9;]*m")
TERMINAL_COMMANDS = [["list"], ["report", "demo.vio"], ["--help"], ["doctor"]]


def completed(*words: str) -> list[str]:
    """Return what bash would offer for the last word."""
    asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1), "_VIO_COMPLETE": "complete_bash"}
    # the shell's function gives the command's name, which decides the variable's
    run = "import sys; from vio.__main__ import main; sys.argv = ['vio']; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", run], env=os.environ | asked, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_commands_and_options_are_completed() -> None:
    assert completed("vio", "re") == ["record", "report"]
    assert completed("vio", "top", "--int") == ["--interval"]


def test_there_is_a_script_for_the_shell() -> None:
    # typer looks at the processes above for the shell, of which there may be none
    named = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    words = [sys.executable, "-m", "vio", "--show-completion", "bash"]
    done = subprocess.run(words, env=named, capture_output=True, text=True, check=True)
    assert "complete -o default -F _vio_completion vio" in done.stdout


def in_a_terminal(words: list[str], settings: dict[str, str], place: Path) -> bytes:
    """Return what a command writes to a terminal."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "vio", *words],
        cwd=place,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=os.environ | {"TERM": "xterm-256color"} | settings,
    ) as process:
        os.close(follower)
        said = b""
        try:
            while piece := os.read(leader, 65536):
                said += piece
        except OSError:  # the terminal's other end is closed
            pass
        process.wait(60)
    os.close(leader)
    return said


@pytest.mark.parametrize("words", TERMINAL_COMMANDS, ids=lambda words: words[0])
def test_no_colours_with_no_color(words: list[str], tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "demo.vio")
    said = in_a_terminal(words, {"NO_COLOR": "1"}, tmp_path)
    assert said
    assert not COLOUR.search(said)


def test_a_table_of_top_has_no_colours_with_no_color() -> None:
    draw = (
        "import sys; from rich.text import Text; from vio.recorder.top.screen import Screen\n"
        "with Screen(sys.stdout, print) as screen: screen.page(Text('page', style='red'))"
    )
    leader, follower = pty.openpty()
    for settings, has_colours in ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True):
        environment = os.environ | {"TERM": "xterm-256color"} | settings
        subprocess.run([sys.executable, "-c", draw], stdout=follower, env=environment, check=True)
        said = os.read(leader, 65536)
        assert b"page" in said
        assert bool(COLOUR.search(said)) == has_colours
    os.close(leader)
    os.close(follower)
