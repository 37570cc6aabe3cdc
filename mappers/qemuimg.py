"""Formats that are not read here: `qemu-img map` is asked, and its answer turned into a map."""

import json
import subprocess
from tempfile import TemporaryFile

import numpy as np

from vio.errors import MapError
from vio.mappers.extent import NOWHERE, RangeMap
from vio.mappers.kind import Kind

TIMEOUT_S = 60
MAX_ANSWER_BYTES = 512 << 20


def map_by_qemu_img(fd: int, image_format: str, source_space: str, target_space: str) -> RangeMap:
    """Map the image open as `fd`; compressed clusters are without an address, as QEMU gives none.

    Raises:
        MapError: qemu-img is not installed, fails, takes too long, or answers with too much or with nonsense.
    """
    words = ["qemu-img", "map", "-U", "--output=json", "-f", image_format, f"/proc/self/fd/{fd}"]
    with TemporaryFile() as answer:
        try:
            done = subprocess.run(
                words, stdout=answer, stderr=subprocess.PIPE, pass_fds=(fd,), timeout=TIMEOUT_S, check=False
            )
        except FileNotFoundError:
            raise MapError(f"{image_format} needs qemu-img, which is not installed", "install qemu-utils") from None
        except subprocess.TimeoutExpired:
            raise MapError(f"qemu-img map did not end within {TIMEOUT_S} s") from None
        if done.returncode:
            lines = done.stderr.decode(errors="replace").splitlines() or ["it failed"]
            raise MapError(f"qemu-img map: {lines[-1][:200]}")
        if answer.tell() > MAX_ANSWER_BYTES:
            raise MapError(f"qemu-img map answered with {answer.tell()} bytes")
        answer.seek(0)
        return _read_rows(json.load(answer), source_space, target_space)


def _read_rows(rows: list[dict[str, int]], source_space: str, target_space: str) -> RangeMap:
    own = [row for row in rows if row["depth"] == 0 and row.get("present", True)]
    size = rows[-1]["start"] + rows[-1]["length"] if rows else 0
    start, length = (np.array([row[name] for row in own], dtype=np.int64) for name in ("start", "length"))
    target = np.array([row.get("offset", NOWHERE) for row in own], dtype=np.int64)
    kind = np.array([_kind_of(row) for row in own], dtype=np.uint8)
    found = RangeMap.of(source_space, target_space, start, length, target, kind)
    return found.fill(size, Kind.UNALLOCATED).coalesce()


def _kind_of(row: dict[str, int]) -> Kind:
    if row["zero"]:
        return Kind.ZERO
    return Kind.MAPPED if "offset" in row else Kind.UNMAPPED
