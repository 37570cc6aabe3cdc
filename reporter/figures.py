"""RECORDING/figures.json: the report's figures of every IO, kept for those who ask for them without a new join."""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from vio import __version__

if TYPE_CHECKING:
    from vio.reporter.result import Report

FIGURES_FILE = "figures.json"


def keep_figures(result: "Report") -> None:
    """Write the figures of every IO beside the per-IO table; what cannot be written is made again when wanted."""
    # Only here: who reads figures that were kept does not wait for what makes them.
    from vio.reporter.machine import to_json

    file = Path(result.recorded.path) / FIGURES_FILE
    draft = file.with_name(f".{FIGURES_FILE}.part")
    kept = {"made_by": __version__, "recording": result.recorded.fingerprint, "figures": to_json(result)}
    with suppress(OSError):
        draft.write_text(json.dumps(kept, allow_nan=False), encoding="utf-8")
        draft.replace(file)


def kept_figures(path: Path, recording: str) -> dict[str, object] | None:
    """Return the figures that were kept of the recording with this fingerprint; None where there are none."""
    try:
        kept = json.loads((path / FIGURES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(kept, dict) or (kept.get("made_by"), kept.get("recording")) != (__version__, recording):
        return None
    figures = kept.get("figures")
    return figures if isinstance(figures, dict) else None
