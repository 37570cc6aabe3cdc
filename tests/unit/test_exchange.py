"""Files that a process opens while it is watched: this one's own."""

import tempfile
from pathlib import Path

from vio.recorder.exchange import OpenedFiles

OWN = Path("/proc/self")


def test_what_is_opened_for_writing_is_seen_and_named(tmp_path: Path) -> None:
    with (tmp_path / "before").open("wb"):
        opened = OpenedFiles(OWN)
        opened.look()
        with (tmp_path / "new").open("wb"), (tmp_path / "before").open("ab"), (tmp_path / "new").open("rb"):
            opened.look()
    opened.look()  # what was seen once stays
    assert opened.found == [str(tmp_path / "new")]
    assert f"opened for writing meanwhile: {tmp_path / 'new'}: not mapped, if" in opened.note()


def test_what_is_only_read_and_what_is_no_file_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "backing").touch()
    opened = OpenedFiles(OWN)
    opened.look()
    with (tmp_path / "backing").open("rb"), Path("/dev/null").open("wb"), tempfile.TemporaryFile():
        opened.look()
    assert not opened.found


def test_a_process_that_has_ended_tells_nothing() -> None:
    opened = OpenedFiles(Path("/proc/0"))
    opened.look()
    assert not opened.found
