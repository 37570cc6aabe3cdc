"""Run the recorder in a process of its own: `recorder_run.py OUTPUT [--pid N | -- COMMAND]`, and sizes of buffers."""

import argparse
import sys
from pathlib import Path

from vio.errors import VioError
from vio.recorder.progress import PlainProgress
from vio.recorder.record import RecordOptions, record


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--pages", type=int, default=4096)
    parser.add_argument("--batches", action="store_true")
    parser.add_argument("--trace-kb", type=int)
    parser.add_argument("--duration", type=float)
    parser.add_argument("command", nargs="*")
    given = parser.parse_args()
    options = RecordOptions(
        output=given.output,
        pid=given.pid,
        command=tuple(given.command),
        duration_s=given.duration,
        buffer_pages=given.pages,
        trace_kb=given.trace_kb,
        is_batched=given.batches,
    )
    try:
        record(options, PlainProgress(sys.stderr))
    except VioError as error:
        sys.stderr.write(f"vio: {error}\n")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
