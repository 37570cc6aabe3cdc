"""Try whether records can be left in this bpftrace's maps, as `vio record` does, or have to be printed."""

import select
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from vio.recorder import host
from vio.recorder.bpfmap import can_take
from vio.recorder.bpftrace import Bpftrace, BpftraceOptions, takes_no_warnings
from vio.recorder.generate import READY, marking
from vio.recorder.procfs import HostRoots
from vio.recorder.stored import MapsUnknownError, StoredIngest

_STREAM = "u"
_PROGRAM = f"""BEGIN
{{
    {marking(_STREAM)}
    printf("{READY}\\n");
}}

interval:s:60
{{
    exit();
}}

END
{{
    clear(@{_STREAM});
}}
"""
_LIMIT_S = 90.0  # in the lab bpftrace needs tens of seconds to start


def try_maps(bpftrace: host.Bpftrace) -> host.Trial:
    """Run a program that stores one record, and look for it in the map. Takes about a second."""
    if not can_take():
        return host.Trial(False, "the kernel cannot hand over a map's entries many at a time")
    with TemporaryDirectory(prefix="vio-") as directory:
        place = Path(directory)
        program = place / "program.bt"
        program.write_text(_PROGRAM)
        options = BpftraceOptions(bpftrace.path, 64, 64, takes_no_warnings(bpftrace.path))
        with Bpftrace(program, place / "log.txt", options) as tracer:
            return _look(tracer)


def _look(tracer: Bpftrace) -> host.Trial:
    ingest = StoredIngest(HostRoots().process(tracer.pid), _STREAM)
    deadline = time.monotonic() + _LIMIT_S
    try:
        while not ingest.printed.is_ready:
            select.select([tracer.fileno()], [], [], max(0.0, deadline - time.monotonic()))
            ingest.feed(tracer.read())
            if tracer.is_eof:
                return host.Trial(False, tracer.why_ended())
            if time.monotonic() > deadline:
                return host.Trial(False, f"bpftrace did not begin within {_LIMIT_S:g} s")
        ingest.take()
    except MapsUnknownError as error:
        return host.Trial(False, error.message)
    finally:
        ingest.close()
    return host.Trial(True)
