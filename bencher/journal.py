"""bench.json: what a bench is of, and which of its runs are done, so that one that was broken off can go on."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from vio.bencher.order import Step
from vio.bencher.scenario import Scenario
from vio.bencher.witness import Told
from vio.errors import OutputError, RecordingError, UsageError
from vio.jsondata import from_data, to_data
from vio.manifest import SchemaVersion
from vio.printable import printable
from vio.recorder.files import replacing

JOURNAL_FILE = "bench.json"
_VERSION = SchemaVersion(1, 0)


@dataclass(frozen=True, slots=True)
class Run:
    """One run that was recorded: `told` by the load itself (empty without a witness), `ours` by the recording.

    It is the last of so many `tries`; `stolen_share` is what the hypervisor below withheld of the host's CPUs.
    """

    step: Step
    began_wall_s: float
    duration_s: float
    ours: tuple[Told, ...]
    told: tuple[Told, ...] = ()
    stolen_share: float = 0.0
    tries: int = 1


@dataclass(frozen=True, slots=True)
class Journal:
    """All of bench.json. `host` names the machine and its kernel; `stops` is how often the bench was broken off."""

    schema: SchemaVersion
    scenario: Scenario
    host: str
    runs: tuple[Run, ...] = ()
    stops: int = 0

    def has(self, step: Step) -> bool:
        """Tell whether this run is done."""
        return any(run.step == step for run in self.runs)


def new_journal(scenario: Scenario) -> Journal:
    """Begin one for this machine."""
    return Journal(_VERSION, scenario, _host())


def write_journal(directory: Path, journal: Journal) -> None:
    """Replace bench.json.

    Raises:
        OutputError: it cannot be written.
    """
    with replacing(directory / JOURNAL_FILE, is_durable=True) as temporary:
        temporary.write_text(json.dumps(to_data(journal), indent=1) + "\n", encoding="utf-8")


def read_journal(directory: Path) -> Journal:
    """Read bench.json.

    Raises:
        RecordingError: it is not there, damaged, or of a newer version.
    """
    path = directory / JOURNAL_FILE
    shown = printable(str(path))
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordingError(f"{shown} is not there: this is no bench", "begin it without --resume") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RecordingError(f"{shown} cannot be read: {printable(str(error))}", "begin a new bench") from None
    schema = from_data(SchemaVersion, data.get("schema") if isinstance(data, dict) else None, f"{shown}.schema")
    if schema.major != _VERSION.major:
        raise RecordingError(f"{shown} is of version {schema.major}, this vio knows {_VERSION.major}", "begin anew")
    return from_data(Journal, data, shown)


def check_same(journal: Journal, scenario: Scenario) -> None:
    """Refuse to go on with a bench of something else.

    Raises:
        UsageError: the scenario, its values, the machine or its kernel are other ones than when it began.
    """
    hint = "begin a new bench in another directory: -o DIR"
    if journal.host != _host():
        raise UsageError(f"this bench was begun on {printable(journal.host)}; here is {_host()}", hint)
    then, now = to_data(journal.scenario), to_data(scenario)
    if isinstance(then, dict) and isinstance(now, dict):
        changed = [name for name in now if then.get(name) != now[name]]
        if changed:
            raise UsageError(f"the scenario has changed since this bench was begun, in [{'], ['.join(changed)}]", hint)


def make_place(directory: Path) -> None:
    """Make the directory of a new bench.

    Raises:
        OutputError: there is something already, or it cannot be written.
    """
    shown = printable(str(directory))
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise OutputError(f"{shown} exists", "go on with a bench there by --resume, or choose another with -o")
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{shown} cannot be made: {error.strerror}", "choose another place with -o") from None


def _host() -> str:
    system = os.uname()
    return f"{system.nodename}, {system.sysname} {system.release}"
