"""Record a guest on a lab host: `record_on(host, scenario)` here; inside, `python -m lab.scenario DIRECTORY`."""

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lab.disk import Aio, Cache, Disk, DiskStats, Format, make_image
from lab.host import Host
from lab.hostmachine import Bus
from lab.load import Load
from lab.session import Outcome, record_guest
from lab.volumes import FileSystem, Stack, Volume, load_modules, volume
from vio.errors import VioError

_RECORDING = "guest.vio"
_OUTCOME = "outcome.json"
_LIMIT_S = 900.0


@dataclass(frozen=True, slots=True)
class Image:
    """A disk of the guest: its image, the volume below it, and the way that QEMU opens it."""

    stack: Stack = Stack.PLAIN
    file_system: FileSystem = FileSystem.OCFS2
    format: Format = Format.QCOW2
    aio: Aio = Aio.NATIVE
    cache: Cache = Cache.NONE
    has_iothread: bool = True
    size_bytes: int = 1 << 30
    bus: Bus = Bus.NVME


@dataclass(frozen=True, slots=True)
class Scenario:
    """A guest of the host, by KVM, with its load; the images take the host's disks of their kind from the first one on.

    `options` go to `vio record`.
    """

    load: Load
    images: tuple[Image, ...] = (Image(),)
    options: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, text: str) -> "Scenario":
        """Read what `to_json` wrote."""
        data = json.loads(text)
        load = Load(data["load"]["name"], tuple(data["load"]["commands"]))
        return cls(load, tuple(map(_image, data["images"])), tuple(data["options"]))

    def to_json(self) -> str:
        """Write it as JSON."""
        return json.dumps(dataclasses.asdict(self))


def record_on(
    host: Host, scenario: Scenario, output: Path, *, timeout_s: float = _LIMIT_S, echo: BinaryIO | None = None
) -> Outcome:
    """Run the scenario on the host, and bring its recording to `output`.

    Raises:
        LabError: the host is gone, or the scenario failed; the message says how.
    """
    directory = host.directory / f"scenario-{time.monotonic_ns()}"
    directory.mkdir()
    (directory / "scenario.json").write_text(scenario.to_json())
    host.run_module("lab.scenario", str(directory), timeout_s=timeout_s, echo=echo)
    shutil.rmtree(output, ignore_errors=True)
    shutil.move(directory / _RECORDING, output)
    data = json.loads((directory / _OUTCOME).read_text())
    guest, devices = ({name: DiskStats(*stats) for name, stats in data[key].items()} for key in ("guest", "devices"))
    return Outcome(output, guest, devices, data["from_ns"], data["to_ns"])


def _run(scenario: Scenario, directory: Path) -> None:
    load_modules("kvm_amd")
    local = Path("/tmp") / _RECORDING  # the shared directory is no place for quick small writes
    with ExitStack() as stack:
        volumes, disks = _prepare(scenario, stack)
        devices = [name for one in volumes for name in one.devices]
        _tell(f"the images are on {', '.join(devices)}; booting the guest")
        outcome = record_guest(
            disks,
            scenario.load,
            local,
            devices=devices,
            options=scenario.options,
            echo=sys.stderr.buffer,
            accelerator="kvm",
        )
    _tell("recorded")
    shutil.copytree(local, directory / _RECORDING)
    shutil.rmtree(local)
    (directory / _OUTCOME).write_text(json.dumps(_described(outcome)))


def _prepare(scenario: Scenario, stack: ExitStack) -> tuple[list[Volume], list[Disk]]:
    volumes: list[Volume] = []
    disks: list[Disk] = []
    taken: Counter[Bus] = Counter()
    for one in scenario.images:
        volumes.append(stack.enter_context(volume(one.stack, one.file_system, taken[one.bus], one.bus)))
        taken[one.bus] += one.stack.disk_count
        path = make_image(volumes[-1].directory / f"disk.{one.format}", one.size_bytes, one.format)
        disks.append(Disk(path, one.format, one.aio, one.cache, has_iothread=one.has_iothread))
    return volumes, disks


def _image(data: dict[str, Any]) -> Image:
    named = {
        "stack": Stack(data["stack"]),
        "file_system": FileSystem(data["file_system"]),
        "format": Format(data["format"]),
        "aio": Aio(data["aio"]),
        "cache": Cache(data["cache"]),
        "bus": Bus(data["bus"]),
    }
    return Image(**{**data, **named})


def _described(outcome: Outcome) -> dict[str, object]:
    return {
        "guest": {name: dataclasses.astuple(stats) for name, stats in outcome.guest.items()},
        "devices": {name: dataclasses.astuple(stats) for name, stats in outcome.devices.items()},
        "from_ns": outcome.from_ns,
        "to_ns": outcome.to_ns,
    }


def _tell(text: str) -> None:
    sys.stderr.write(f"[{time.monotonic():7.1f}] lab: {text}\n")
    sys.stderr.flush()


def main(arguments: list[str]) -> int:
    """Run the scenario of a directory, inside a lab host; leave recording and outcome there."""
    directory = Path(arguments[0])
    scenario = Scenario.from_json((directory / "scenario.json").read_text())
    try:
        _run(scenario, directory)
    except VioError as error:
        sys.stderr.write(f"lab: {error}\n")
        return int(error.exit_code)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or b"").decode(errors="replace")
        sys.stderr.write(f"lab: {' '.join(error.cmd)}: {said}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
