"""`vio report --in-flight`: the IOs that had not completed when the recording stopped."""

import json
from pathlib import Path
from typing import Annotated

import typer

InFlightOption = Annotated[
    bool, typer.Option("--in-flight", help="Show the IOs that had not completed at the stop, and where each is.")
]


def in_flight_text(recording: Path, as_json: bool, is_terminal: bool) -> str:
    """Find them, and write a table or JSON."""
    from vio.reporter.inflight import in_flight
    from vio.reporter.inflighttext import in_flight_data, render_in_flight

    found = in_flight(recording)
    if as_json:
        return json.dumps(in_flight_data(found), indent=1)
    return render_in_flight(found, is_terminal=is_terminal).rstrip("\n")
