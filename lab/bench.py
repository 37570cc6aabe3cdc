"""`make bench`: measure what issue and README promise; `python -m lab.bench NAME...` for some of it."""

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from lab import (
    bench_cost,
    bench_ingest,
    bench_loss,
    bench_maps,
    bench_matrix,
    bench_page,
    bench_report,
    bench_stored,
    bench_top,
)
from lab.demo import SAMPLE
from lab.disk import Disk, make_image
from lab.load import bench_load
from lab.session import record_guest
from lab.targets import TARGETS


def _report() -> str:
    with TARGETS["xfs-loop-tmpfs"]() as target, TemporaryDirectory() as scratch:
        image = make_image(target.directory / "report.qcow2", 1 << 30)
        outcome = record_guest([Disk(image, has_iothread=True)], bench_load(), Path(scratch) / "source.vio")
        return bench_report.run(outcome.recording)


def _ingest() -> str:
    ways = {"the map": bench_stored.measure_stored(), "the pipe": bench_ingest.measure_ingest()}
    told = (f"from {name}: {one.rows:,} rows, {one.rows_per_cpu_s / 1e6:.2f}" for name, one in ways.items())
    return "\n".join(f"{text} million rows per CPU second" for text in told)


BENCHES: dict[str, tuple[str, Callable[[], str]]] = {
    "cost": ("Cost to the guest", bench_cost.run),
    "top": ("Cost of vio top", bench_top.run),
    "loss": ("No loss", bench_loss.run),
    "ingest": ("From the map and from the pipe to Parquet", _ingest),
    "report": ("The report", _report),
    "page": ("The page for a browser", lambda: bench_page.run(SAMPLE)),
    "maps": ("Maps", bench_maps.run),
    "matrix": ("A real guest, every IO", bench_matrix.run),
}


def main(names: list[str]) -> int:
    """Run the named benches, all by default; print a section of Markdown for each."""
    unknown = set(names) - BENCHES.keys()
    if unknown:
        print(f"bench: no such bench: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    for name in names or BENCHES:
        title, run = BENCHES[name]
        print(f"## {title}\n\n{run()}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
