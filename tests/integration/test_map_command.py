"""`vio map` on real images: the chain, addresses both ways, and which files are opened."""

import json
import os
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lab.imagematrix import MIB, qemu_img
from tests.commandline import Vio, vio
from tests.integration import disks

__all__ = ["vio"]


def ok(vio: Vio, *words: str) -> str:
    code, out, _ = vio("map", *words)
    assert code == 0
    return out


def fails(vio: Vio, *words: str) -> str:
    code, _, said = vio("map", *words)
    assert code not in (0, 70)
    assert len(said.splitlines()) == 1
    return said


def io(image: Path, *commands: str) -> None:
    words = ["qemu-io", "-t", "unsafe", str(image), *(word for command in commands for word in ("-c", command))]
    subprocess.run(words, check=True, timeout=60, capture_output=True)


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """An overlay upon a qcow2 upon a raw file, each with something of its own."""
    disks.require_tool("qemu-img")
    raw, middle, top = (tmp_path / name for name in ("raw.img", "middle.qcow2", "top.qcow2"))
    raw.write_bytes(b"r" * 4 * MIB)
    qemu_img("create", "-q", "-f", "qcow2", "-b", str(raw), "-F", "raw", str(middle), "8M")
    qemu_img("create", "-q", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", str(top), "8M")
    io(middle, "write -P 1 1M 1M", "write -z 3M 64k")
    io(top, "write -P 2 1536k 64k")
    return top


def pieces(vio: Vio, *words: str) -> list[tuple[int | None, int, dict[str, int]]]:
    said = json.loads(ok(vio, *words, "--json"))
    return [
        (
            one["guest_offset"],
            one["bytes"],
            {
                Path(place["name"]).name: place["offset"]
                for place in one["places"]
                if place["space"].startswith("file:")
            },
        )
        for one in said["pieces"]
    ]


def test_an_address_is_in_the_image_that_holds_it(vio: Vio, chain: Path) -> None:
    found = pieces(vio, str(chain), "--follow", "--guest-offset", "0x180000+128k", "--guest-offset", "3M+128k")
    assert [(start, size, list(places)) for start, size, places in found] == [
        (0x180000, 65536, ["top.qcow2"]),
        (0x190000, 65536, ["middle.qcow2"]),
        (3 * MIB, 65536, []),
        (3 * MIB + 65536, 65536, ["raw.img"]),
    ]
    assert found[3][2]["raw.img"] == 3 * MIB + 65536


def test_addresses_come_back_the_way_they_went(vio: Vio, chain: Path) -> None:
    ((start, size, places),) = pieces(vio, str(chain), "--follow", "--guest-offset", "0x180000+64k")
    back = pieces(vio, str(chain), "--follow", "--host-file-offset", f"{places['top.qcow2']}+64k")
    assert back == [(start, size, places)]


def test_tables_of_the_image_are_named(vio: Vio, chain: Path) -> None:
    said = json.loads(ok(vio, str(chain), "--host-file-offset", "0+256k", "--json"))
    owners = {one["owner"] for one in said["pieces"] if one["owner"]}
    assert {"header of the image", "L1 table of the image", "refcount table of the image"} <= owners


def test_the_device_leads_back_to_the_guest(vio: Vio, chain: Path) -> None:
    if disks.run("stat", "-f", "-c", "%T", chain).strip() not in ("ext2/ext3", "xfs"):
        pytest.skip("the file system of the test directory has no device addresses")
    disks.run("sync", chain)
    said = json.loads(ok(vio, str(chain), "--guest-offset", "0x180000+4k", "--json"))
    (piece,) = said["pieces"]
    device = piece["places"][-1]
    back = json.loads(
        ok(vio, str(chain), "--device", device["name"], "--device-offset", f"{device['offset']}+4k", "--json")
    )
    assert [one["guest_offset"] for one in back["pieces"]] == [0x180000]


def test_without_leave_no_named_file_is_opened(vio: Vio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "hostile.qcow2"
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", str(image), "1M")
    opened: list[str] = []
    real = os.open

    def noting(path: str | Path, *words: int) -> int:
        opened.append(str(path))
        return real(path, *words)

    monkeypatch.setattr(os, "open", noting)
    levels = json.loads(ok(vio, str(image), "--json"))["levels"]
    assert [level["name"] for level in levels if level["sort"] == "image"] == [str(image)]
    assert any("/etc/shadow is not opened" in note for note in levels[0]["notes"])
    assert str(image) in opened
    assert "/etc/shadow" not in opened


def test_chain_that_contains_itself_is_said(vio: Vio, tmp_path: Path) -> None:
    image = tmp_path / "self.qcow2"
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", "self.qcow2", "-F", "qcow2", str(image), "1M")
    assert "twice" in fails(vio, str(image), "--follow")
    assert json.loads(ok(vio, str(image), "--json"))["levels"]


def test_other_formats_are_asked_of_qemu_img(vio: Vio, tmp_path: Path) -> None:
    raw = tmp_path / "raw.img"
    raw.write_bytes(bytes(MIB) + b"d" * MIB + bytes(2 * MIB))
    for image_format in ("vdi", "vhdx", "vmdk"):
        image = tmp_path / f"image.{image_format}"
        qemu_img("convert", "-O", image_format, str(raw), str(image))
        follow = ["--follow"] if image_format == "vmdk" else []
        said = json.loads(ok(vio, str(image), *follow, "--guest-offset", "1M+512", "--json"))
        (piece,) = said["pieces"]
        assert said["levels"][0]["notes"][-1].startswith("mapped by asking qemu-img map")
        if image_format == "vhdx":
            # QEMU says that there is data, and not where.
            assert (piece["kind"], piece["places"]) == ("UNMAPPED", [])
            continue
        offset = piece["places"][0]["offset"]
        assert image.read_bytes()[offset : offset + 512] == b"d" * 512
    assert "--follow" in fails(vio, str(tmp_path / "image.vmdk"))


def test_snapshot_is_chosen_by_name(vio: Vio, chain: Path) -> None:
    qemu_img("snapshot", "-c", "one", str(chain))
    io(chain, "write -P 7 4M 64k")
    now, then = (
        json.loads(ok(vio, str(chain), *words, "--json"))["levels"][0]["totals"]["allocated_bytes"]
        for words in ([], ["--snapshot", "one"])
    )
    assert now - then == 65536
    assert "its snapshots: one" in fails(vio, str(chain), "--snapshot", "two")


def test_parquet_has_a_column_for_each_place(vio: Vio, chain: Path, tmp_path: Path) -> None:
    out = tmp_path / "pieces.parquet"
    ok(vio, str(chain), "--follow", "--guest-offset", "1M+1M", "--parquet", str(out))
    table = pq.read_table(out)
    assert str(chain) in table.column_names
    assert sum(table["bytes"].to_pylist()) == MIB
    ok(vio, str(chain), "--parquet", str(out))
    assert pq.read_table(out)["sort"].to_pylist()[0] == "image"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["IMAGE", "--vm", "x"],
        ["IMAGE", "--flush"],
        ["IMAGE", "--guest-offset", "1", "--device-offset", "2"],
        ["IMAGE", "--guest-offset", "many"],
        ["IMAGE", "--device", "vda"],
        ["IMAGE", "--files"],
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(vio: Vio, chain: Path, words: list[str]) -> None:
    code, _, said = vio("map", *(str(chain) if word == "IMAGE" else word for word in words))
    assert (code, len(said.splitlines())) == (2, 1)


def test_text_is_for_people(vio: Vio, chain: Path) -> None:
    said = ok(vio, str(chain), "--follow")
    assert "guest disk" in said
    assert "backing image 2" in said
    assert "64 KiB allocated" in said
    assert "0x180000" in ok(vio, str(chain), "--guest-offset", "0x180000+64k")
