"""The command line: one line for each failure, the right exit code, plain text in a pipe."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.commandline import Vio, a_process, roots, vio
from tests.runs import some_runs

from vio import __version__, cli
from vio.comparer.baseline import save_baseline
from vio.errors import ExitCode, VioError
from vio.recorder import checkup
from vio.recorder.host import HostFeatures, read_host
from vio.recorder.procfs import HostRoots

ROOT = Path(__file__).parents[2]
__all__ = ["roots", "vio"]
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


def test_help_and_version(vio: Vio) -> None:
    assert vio("--version") == (0, f"vio {__version__}\n", "")
    code, out, _ = vio("--help")
    assert code == 0
    assert {"record", "list", "doctor"} <= set(out.split())
    code, out, _ = vio()
    assert code == ExitCode.USAGE
    assert "Usage: vio" in out


@pytest.mark.parametrize(
    "command",
    sorted(command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback),
)
def test_every_command_explains_itself_with_an_example(vio: Vio, command: str) -> None:
    code, out, err = vio(command, "--help")
    assert (code, err) == (0, "")
    assert "Example" in out
    assert f"vio {command}" in out.split("Example")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lst"], "No such command 'lst'"),
        (["list", "--foo"], "No such option: --foo"),
        (["list", "more"], "unexpected extra argument"),
        (["doctor", "--pid", "x"], "Invalid value for '--pid'"),
        (["doctor", "--pid", "0"], "Invalid value for '--pid'"),
        (["doctor", "--vm"], "requires an argument"),
        (["doctor", "--vm", "a", "--pid", "1"], "a VM's name and a pid were both given"),
        (["doctor", "--vm", "a", "--binary", "b"], "a binary and a VM were both given"),
        (["record", "web"], "web stands without an option: --vm NAME records a VM"),
        (["record", "--vm", "a", "--pid", "1"], "more than one of --vm, --pid and a command"),
        (["record", "--vm", "a", "--", "qemu-img"], "more than one of --vm, --pid and a command"),
        (["record", "qemu-img", "-c", "1"], "No such option: -c"),
        (["record", "--duration", "5x"], "'5x' is no duration"),
        (["record", "--duration", "0"], "a duration of 0 is not above zero"),
        (["record", "--buffer-pages", "3"], "3 buffer pages is no power of two"),
    ],
)
def test_wrong_words(vio: Vio, roots: HostRoots, words: list[str], said: str) -> None:
    code, out, err = vio(*words)
    assert (code, out) == (ExitCode.USAGE, "")
    assert err.startswith("vio: ")
    assert said in err
    assert err.count("\n") == 1


def test_list_without_a_vm(vio: Vio, roots: HostRoots) -> None:
    assert vio("list") == (0, "", "vio: no QEMU process is running\n")
    assert vio("list", "--json") == (0, "[]\n", "")


def test_list_shows_names_as_they_are(vio: Vio, roots: HostRoots) -> None:
    a_process(roots, 41, "-name", "ev\x1b[31mil\n", "-blockdev", "driver=file,filename=/x,node-name=d0")
    code, out, _ = vio("list")
    assert code == 0
    assert "ev\\x1b[31mil\\n" in out
    assert not CONTROL.search(out)
    code, out, _ = vio("list", "--json")
    assert json.loads(out)[0]["name"] == "ev\x1b[31mil\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--vm", "nobody"], "no VM is called nobody: running: web (pid 41), web (pid 42)"),
        (["--vm", "web"], "2 VMs are called web: pids 41, 42: choose with --pid"),
        (["--pid", "9"], "there is no process 9"),
        (["--binary", "/etc/passwd"], "/etc/passwd is not an ELF file"),
        (["--binary", "/none\x1b"], "/none\\x1b: No such file or directory"),
    ],
)
def test_what_is_not_there(vio: Vio, roots: HostRoots, words: list[str], said: str) -> None:
    a_process(roots, 41, "-name", "web")
    a_process(roots, 42, "-name", "web")
    code, out, err = vio("doctor", *words)
    assert (code, out) == (ExitCode.TARGET, "")
    assert err.startswith(f"vio: {said}")
    assert err.count("\n") == 1


def doctor_says(vio: Vio, *words: str) -> tuple[int, list[str]]:
    code, out, err = vio("doctor", "--json", *words)
    assert err == ""
    found = json.loads(out)
    assert found["can_record"] is (code == 0)
    return code, found["fatal"]


def test_doctor_without_bpftrace(vio: Vio, roots: HostRoots) -> None:
    code, fatal = doctor_says(vio)
    assert code == ExitCode.HOST
    assert any(line.startswith("bpftrace: ") and "apt install bpftrace" in line for line in fatal)
    assert any(line.startswith("QEMU: ") for line in fatal)


def test_doctor_with_an_old_bpftrace(vio: Vio, roots: HostRoots, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/bpftrace"
    fake.write_text("#!/bin/sh\necho bpftrace v0.16.0\n")
    fake.chmod(0o755)
    code, fatal = doctor_says(vio)
    assert code == ExitCode.HOST
    assert any("0.17 or newer (found 0.16.0)" in line for line in fatal)


def test_doctor_without_root(vio: Vio, roots: HostRoots, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_nobody() -> HostFeatures:
        return read_host(roots)

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(checkup, "read_host", as_nobody)
    code, fatal = doctor_says(vio)
    assert code == ExitCode.HOST
    assert fatal[0] == "root: nothing can be recorded; run vio as root (sudo vio ...)"


def test_doctor_of_a_vm_that_cannot_be_followed(vio: Vio, roots: HostRoots) -> None:
    a_process(roots, 41, "-name", "web", "-chardev", "socket,id=c,path=/s", "-device", "vhost-user-blk-pci,chardev=c")
    code, fatal = doctor_says(vio, "--vm", "web")
    assert code == ExitCode.HOST
    assert any(line.startswith("a disk that can be followed: there is nothing to record in web") for line in fatal)


def test_doctor_of_a_binary_without_symbols(vio: Vio, roots: HostRoots) -> None:
    code, fatal = doctor_says(vio, "--binary", sys.executable)
    assert code == ExitCode.HOST
    assert any(line.startswith("QEMU's functions (this QEMU does not export the function)") for line in fatal)


def test_interruptions_and_bugs(vio: Vio, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_with(error: BaseException) -> tuple[int, str, str]:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(checkup, "check_up", fail)
        return vio("doctor")

    assert fails_with(KeyboardInterrupt()) == (ExitCode.INTERRUPTED, "", "vio: interrupted\n")
    assert fails_with(VioError("what\nand why", "what to do")) == (1, "", "vio: what\\nand why: what to do\n")
    code, _, err = fails_with(ZeroDivisionError("a\x1bb"))
    assert code == ExitCode.BUG
    assert err.startswith("vio: this is a bug in vio (ZeroDivisionError: a\\x1bb): ")
    assert "Traceback" not in err
    monkeypatch.setenv("VIO_DEBUG", "1")
    code, _, err = fails_with(ZeroDivisionError("x"))
    assert code == ExitCode.BUG
    assert "Traceback" in err


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"VIO": f"{sys.executable} -m vio"} | environment,
    )


def test_a_reader_that_goes_ends_vio_quietly() -> None:
    # the reader has gone before vio writes
    done = run("{ sleep 1.5; $VIO --help; echo $? >&2; } | true")
    assert done.stderr == "141\n"


def test_a_full_or_closed_output() -> None:
    done = run("$VIO --help >/dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (ExitCode.OUTPUT, 1)
    assert "No space left on device" in done.stderr
    assert run("$VIO --version >&-").returncode == 0


def test_a_pipe_gets_plain_text() -> None:
    done = run("$VIO doctor", FORCE_COLOR="1", CLICOLOR_FORCE="1", TERM="xterm-256color")
    assert "Points:" in done.stdout
    assert not CONTROL.search(done.stdout)
    assert all(line == line.rstrip() for line in done.stdout.splitlines())


def test_no_command_imports_pandas_though_pyarrow_would(tmp_path: Path) -> None:
    recording = shutil.copytree(ROOT / "tests/data/parts.vio", tmp_path / "parts.vio")
    code = "import sys; from vio.__main__ import main; sys.exit(main() or 'pandas' in sys.modules)"
    command = [sys.executable, "-c", code, "report", str(recording), "--stages"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)


@pytest.mark.parametrize("words", [["--help"], ["list"], ["report", "--help"]])
def test_what_is_not_needed_is_not_imported(words: list[str]) -> None:
    code = "import sys; from vio.cli import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert not loaded & {"pandas", "pyarrow", "numpy", "matplotlib"}


def test_comparing_baselines_does_without_what_recordings_need(tmp_path: Path) -> None:
    sides = [str(tmp_path / name) for name in ("base.viobase", "new.viobase")]
    for number, side in enumerate(sides):
        save_baseline(some_runs(10 * number), Path(side))
    code = "import sys; from vio.cli import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, "compare", *sides], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("SAME")
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert not loaded & {"pandas", "pyarrow", "numba", "matplotlib", "duckdb", "rich"}


def test_every_exit_code_is_documented() -> None:
    text = (ROOT / "docs/exit-codes.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| (\w*) ?\|", text, re.MULTILINE))
    named = {str(int(code)): code.name for code in ExitCode}
    assert rows == named
