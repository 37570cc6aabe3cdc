"""Recording harms no guest: random IO under every shipped probe, the short form of `make harm`.

VIO_HARM_S=600 makes it ten minutes long.
"""

import os
from pathlib import Path

import pytest
from lab.disk import Disk, Format
from lab.harm import image_faults, play
from lab.targets import root_directory

SECONDS = int(os.environ.get("VIO_HARM_S", "30"))
pytestmark = [pytest.mark.live, pytest.mark.timeout(300 + 2 * SECONDS)]


def test_a_guest_under_every_probe_keeps_its_data(tmp_path: Path) -> None:
    with root_directory() as target:
        harm = play(SECONDS, tmp_path / "harm.vio", target.directory)
    assert harm.faults == ()
    assert harm.findings.losses == {}
    assert harm.findings.io_count > 30 * SECONDS


def test_wrong_data_would_be_found(tmp_path: Path) -> None:
    image = tmp_path / "zeroes.raw"
    with image.open("wb") as file:
        file.truncate(256 << 20)
    found = image_faults(Disk(image, Format.RAW))
    assert len(found) == 1
    assert "fio" in found[0]
