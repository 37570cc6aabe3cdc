"""Record a guest on a lab host: `record_on(host, scenario)` here; inside, `python -m lab.scenario FILE DIRECTORY`."""

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lab.disk import Aio, Cache, Disk, DiskStats, Format, make_image
from lab.host import Host
from lab.load import Load
from lab.session import Outcome, record_guest
from lab.volumes import FileSystem, Stack, load_modules, volume
from vio.errors import VioError

_RECORDING = "guest.vio"
_OUTCOME = "outcome.json"
_LIMIT_S = 500.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A guest of the host, by KVM, its disk an image on a volume, and its load; `options` go to `vio record`."""

    load: Load
    stack: Stack = Stack.PLAIN
    file_system: FileSystem = FileSystem.OCFS2
    format: Format = Format.QCOW2
    aio: Aio = Aio.NATIVE
    cache: Cache = Cache.NONE
    has_iothread: bool = True
    image_bytes: int = 1 << 30
    options: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, text: str) -> "Scenario":
        """Read what `to_json` wrote."""
        data = json.loads(text)
        return cls(
            load=Load(data["load"]["name"], tuple(data["load"]["commands"])),
            stack=Stack(data["stack"]),
            file_system=FileSystem(data["file_system"]),
            format=Format(data["format"]),
            aio=Aio(data["aio"]),
            cache=Cache(data["cache"]),
            has_iothread=data["has_iothread"],
            image_bytes=data["image_bytes"],
            options=tuple(data["options"]),
        )

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
    with volume(scenario.stack, scenario.file_system) as place:
        _tell(f"{scenario.file_system} on {', '.join(place.devices)}")
        image = make_image(place.directory / "disk.qcow2", scenario.image_bytes, scenario.format)
        disk = Disk(image, scenario.format, scenario.aio, scenario.cache, has_iothread=scenario.has_iothread)
        outcome = record_guest(
            [disk],
            scenario.load,
            local,
            devices=place.devices,
            options=scenario.options,
            echo=sys.stderr.buffer,
            accelerator="kvm",
        )
    _tell("recorded")
    shutil.copytree(local, directory / _RECORDING)
    shutil.rmtree(local)
    (directory / _OUTCOME).write_text(json.dumps(_described(outcome)))


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
        sys.stderr.write(f"lab: {' '.join(error.cmd)}: {(error.stderr or b'').decode(errors='replace')}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
