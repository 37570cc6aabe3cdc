"""Ask a running QEMU about itself through its monitor socket, where that disturbs nobody.

Five read-only commands, one second for everything, then the connection is closed.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from qemu.qmp import QMPClient, QMPError
from qemu.qmp.qmp_client import ExecuteError

from vio.recorder.optstring import Options, get_flag, get_options, get_text

TIMEOUT_S = 1.0


class QmpUnavailable(Exception):
    """The monitor cannot be asked; says why. Never an error for the user: QMP is optional."""


@dataclass(frozen=True, slots=True)
class QmpBlock:
    """One block device as query-block tells it; `filename` is "" where no medium is in."""

    drive: str
    qdev: str
    node_name: str
    format: str
    filename: str
    is_read_only: bool
    is_writeback: bool
    is_direct: bool
    is_no_flush: bool
    virtual_size_bytes: int | None


@dataclass(frozen=True, slots=True)
class QmpFacts:
    """What a monitor said; everything in it comes from the QEMU process, so it is not trusted."""

    version: str = ""
    name: str = ""
    blocks: tuple[QmpBlock, ...] = ()
    iothreads: tuple[tuple[str, int], ...] = ()
    node_count: int = 0


def ask(path: Path, timeout_s: float = TIMEOUT_S) -> QmpFacts:
    """Connect to a QMP socket, ask, and close.

    Raises:
        QmpUnavailable: it did not answer, or not as QMP does, within `timeout_s`.
    """
    # the library logs each refused connection as an error; here it is a note
    logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(_converse(str(path), timeout_s))
    except TimeoutError:
        raise QmpUnavailable(f"its QMP socket did not answer within {timeout_s:g} s") from None
    except (QMPError, OSError, EOFError, ValueError, RuntimeError) as error:
        raise QmpUnavailable(f"its QMP socket cannot be asked: {error}") from None


async def _converse(path: str, timeout_s: float) -> QmpFacts:
    client = QMPClient("vio")
    try:
        async with asyncio.timeout(timeout_s):
            await client.connect(path)
            return await _query(client)
    finally:
        await _close(client)


async def _close(client: QMPClient) -> None:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await client.disconnect()
    except (QMPError, OSError, EOFError, TimeoutError):
        # the other end hung up first: closed is closed
        return


async def _query(client: QMPClient) -> QmpFacts:
    version = _options(await _execute(client, "query-version"))
    return QmpFacts(
        version=_version_text(version),
        name=get_text(_options(await _execute(client, "query-name")), "name"),
        blocks=tuple(_read_block(block) for block in _list(await _execute(client, "query-block"))),
        iothreads=tuple(_read_iothreads(await _execute(client, "query-iothreads"))),
        node_count=len(_list(await _execute(client, "query-named-block-nodes", {"flat": True}))),
    )


async def _execute(client: QMPClient, command: str, arguments: dict[str, object] | None = None) -> object:
    try:
        return await client.execute(command, arguments)
    except ExecuteError:
        # a program without this command (qemu-storage-daemon), or an older one without the argument
        return None


def _version_text(version: Options) -> str:
    numbers = [get_text(version, "qemu", part) for part in ("major", "minor", "micro")]
    package = get_text(version, "package")
    return ".".join(numbers) + (f" {package}" if package else "") if all(numbers) else ""


def _read_block(block: Options) -> QmpBlock:
    inserted, image = get_options(block, "inserted"), get_options(get_options(block, "inserted"), "image")
    cache, size = get_options(inserted, "cache"), image.get("virtual-size")
    return QmpBlock(
        drive=get_text(block, "device"),
        qdev=get_text(block, "qdev"),
        node_name=get_text(inserted, "node-name"),
        format=get_text(inserted, "drv"),
        filename=get_text(inserted, "file"),
        is_read_only=bool(get_flag(inserted, "ro")),
        is_writeback=bool(get_flag(cache, "writeback")),
        is_direct=bool(get_flag(cache, "direct")),
        is_no_flush=bool(get_flag(cache, "no-flush")),
        virtual_size_bytes=size if isinstance(size, int) else None,
    )


def _read_iothreads(answer: object) -> Iterable[tuple[str, int]]:
    for thread in _list(answer):
        tid = thread.get("thread-id")
        if isinstance(tid, int):
            yield get_text(thread, "id"), tid


def _options(answer: object) -> Options:
    return answer if isinstance(answer, dict) else {}


def _list(answer: object) -> list[Options]:
    return [item for item in answer if isinstance(item, dict)] if isinstance(answer, list) else []
