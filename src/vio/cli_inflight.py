"""`vio report --in-flight`: the IOs that had not completed when the recording stopped."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from vio.terminal import has_colours

InFlightOption = Annotated[
    bool, typer.Option("--in-flight", help="Show the IOs that had not completed at the stop, and where each is.")
]


def show_in_flight(recording: Path, as_json: bool, show: Callable[[str], None]) -> None:
    """Find them, and show a table or JSON."""
    from vio.reporter.inflight import in_flight
    from vio.reporter.inflighttext import in_flight_data, render_in_flight

    found = in_flight(recording)
    if as_json:
        show(json.dumps(in_flight_data(found), indent=1))
        return
    show(render_in_flight(found, is_terminal=has_colours(sys.stdout)).rstrip("\n"))
