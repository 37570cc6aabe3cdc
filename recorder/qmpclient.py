"""The conversation with a monitor socket; apart from vio.recorder.qmp, as qemu.qmp and asyncio take long to import."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

from qemu.qmp import QMPClient, QMPError
from qemu.qmp.qmp_client import ExecuteError

from vio.recorder.optstring import Options, get_flag, get_options, get_text
from vio.recorder.qmp import QmpBlock, QmpFacts, QmpUnavailable

Answer = TypeVar("Answer")


def converse(path: Path, timeout_s: float) -> QmpFacts:
    """Connect to a QMP socket, ask, and close.

    Raises:
        QmpUnavailable: it did not answer, or not as QMP does, within `timeout_s`.
    """
    return _run(path, timeout_s, _query)


def converse_human(path: Path, line: str, timeout_s: float) -> str:
    """Connect to a QMP socket, send a line to the human monitor, and close; errors as `converse`."""

    async def send(client: QMPClient) -> str:
        return str(await client.execute("human-monitor-command", {"command-line": line}))

    return _run(path, timeout_s, send)


def _run(path: Path, timeout_s: float, use: Callable[[QMPClient], Awaitable[Answer]]) -> Answer:
    # the library logs each refused connection as an error; here it is a note
    logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(_converse(str(path), timeout_s, use))
    except TimeoutError:
        raise QmpUnavailable(f"its QMP socket did not answer within {timeout_s:g} s") from None
    except (QMPError, OSError, EOFError, ValueError, RuntimeError) as error:
        raise QmpUnavailable(f"its QMP socket cannot be asked: {error}") from None


async def _converse(path: str, timeout_s: float, use: Callable[[QMPClient], Awaitable[Answer]]) -> Answer:
    client = QMPClient("vio")
    try:
        async with asyncio.timeout(timeout_s):
            await client.connect(path)
            return await use(client)
    finally:
        await _close(client, timeout_s)


async def _close(client: QMPClient, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
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
