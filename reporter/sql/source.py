"""One recording as SQL sees it: where its tables lie, and its figures; joined only when a query needs it."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from vio.errors import RecordingError
from vio.manifest import Manifest
from vio.manifestfile import IOS_FILE, MAPS_FILE, event_files, fingerprint, read_manifest
from vio.reporter.figures import kept_figures

if TYPE_CHECKING:
    from vio.losses import Loss
    from vio.reporter.progress import Progress

OnProgress: TypeAlias = "Callable[[Progress], None] | None"
Figures = dict[str, object]
_WRITEBACKS_FILE, _STAGES_FILE = "writebacks.parquet", "stages.parquet"
_SHOWN_FILE = "shown.parquet"


@dataclass(slots=True)
class Source:
    """A recording and its name in the column `recording`.

    The per-IO table goes to the directory `spare` where the recording cannot be written to. `ios_path` is the table
    that is known to be of this recording. `progress` returns what is told how far a join has come.
    """

    path: Path
    name: str
    manifest: Manifest
    progress: Callable[[], OnProgress]
    spare: Path = Path()
    ios_path: Path | None = None
    _figures: Figures | None = field(default=None)

    @classmethod
    def open(cls, path: Path, name: str, progress: Callable[[], OnProgress]) -> "Source":
        """Open a recording.

        Raises:
            RecordingError: there is none, or its manifest cannot be believed.
        """
        manifest = read_manifest(path)
        try:
            str(path.resolve()).encode()
        except UnicodeEncodeError:
            raise RecordingError(f"the name of {path} is not UTF-8", "give it another name") from None
        return cls(path.resolve(), name, manifest, progress)

    @property
    def fingerprint(self) -> str:
        """The recording's fingerprint, if all its events can be read; else one that no table has."""
        return fingerprint(self.path, event_files(self.path))

    @property
    def places(self) -> tuple[Path, Path]:
        """Where the per-IO table can be: in the recording, or beside it."""
        return self.path / IOS_FILE, self.spare / IOS_FILE

    @property
    def files(self) -> dict[str, Path]:
        """Where the other tables of the recording are, if they are, by the name of their view."""
        names = {"maps": MAPS_FILE, "shown": _SHOWN_FILE, "writebacks": _WRITEBACKS_FILE, "stages": _STAGES_FILE}
        return {view: self.path / name for view, name in names.items()}

    @property
    def has_shown_maps(self) -> bool:
        """Whether a report finds more of the disks' maps than were taken: those of images with tables of their own."""
        return any(disk.format == "qcow2" for disk in self.manifest.target.disks)

    def ios(self) -> Path:
        """Return the per-IO table, which is made unless it is there.

        Raises:
            RecordingError: the recording cannot be read.
            OutputError: there is no place for the table.
        """
        here, spare = self.places
        if self.ios_path is None:
            from vio.recording import Recording
            from vio.reporter.table import has_every_io

            if has_every_io(here, Recording.open(self.path).fingerprint()):
                self.ios_path = here
            else:
                self._report()
        return self.ios_path or spare

    def figures(self) -> Figures:
        """Return the report's figures of every IO (docs/report-json.md): those of the last report, or of a new one.

        Raises:
            RecordingError: the recording cannot be read.
        """
        if self._figures is None:
            self._figures = kept_figures(self.path, self.fingerprint)
        if self._figures is None:
            self._report()
        return self._figures or {}

    def losses(self) -> "list[Loss]":
        """Return what was lost, the segments that cannot be read among it.

        Raises:
            RecordingError: the table of losses is damaged.
        """
        from vio.recording import Recording

        return Recording.open(self.path).read_losses()

    def _report(self) -> None:
        from vio.reporter.machine import to_json
        from vio.reporter.report import ReportOptions, report

        here, spare = self.places
        tell = self.progress()
        found = report(self.path, ReportOptions(), tell) if os.access(self.path, os.W_OK) else None
        if found is None or found.table_path != here:
            spare.parent.mkdir(exist_ok=True)
            found = report(self.path, ReportOptions(table_path=spare), tell)
        self.ios_path = found.table_path
        self._figures = dict(to_json(found))
