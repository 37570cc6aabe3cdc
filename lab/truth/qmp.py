"""Tell a lab guest's QEMU to change something while it runs."""

import json
import socket
from pathlib import Path

from vio.errors import VioError

_LIMIT_S = 10.0


def command(socket_path: Path, execute: str, /, **arguments: object) -> object:
    """Connect to a QMP socket, execute one command, and give its result."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(_LIMIT_S)
        channel.connect(str(socket_path))
        with channel.makefile("rw", encoding="utf-8") as lines:
            lines.readline()  # the greeting
            for name, given in (("qmp_capabilities", {}), (execute, arguments)):
                lines.write(json.dumps({"execute": name, "arguments": given}) + "\n")
                lines.flush()
                answer = json.loads(lines.readline())
                while "event" in answer:
                    answer = json.loads(lines.readline())
                if "error" in answer:
                    raise VioError(f"QEMU refused {name}: {answer['error'].get('desc')}")
    return answer["return"]


def iothread_tids(path: Path) -> dict[str, int]:
    """Give the host's thread id of each iothread by its id."""
    answer = command(path, "query-iothreads")
    return {one["id"]: int(one["thread-id"]) for one in answer} if isinstance(answer, list) else {}


def vcpu_tids(path: Path) -> list[int]:
    """Give the host's thread ids of the virtual CPUs."""
    answer = command(path, "query-cpus-fast")
    return [int(one["thread-id"]) for one in answer] if isinstance(answer, list) else []
