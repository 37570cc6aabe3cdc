"""What the load says of itself: the figures of fio's JSON, or of `qemu-img bench`. Pure but for `read_witness`."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vio.errors import VioError

_MAX_BYTES = 64 << 20
_MOST = 1e18
_BEGIN = re.compile(r"^\{", re.MULTILINE)
_QEMU_IMG = re.compile(
    r"Sending (\d{1,18}) (read|write) requests.*?Run completed in (\d{1,9}\.\d{1,9}) seconds", re.DOTALL | re.ASCII
)
_OPS = ("read", "write", "trim")
_OP_NAMES = {"trim": "discard"}
_PERCENTILES = {"p50_ns": "50.000000", "p99_ns": "99.000000"}


class WitnessError(VioError):
    """The load has left no figures, or says that it failed."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one side says of one operation in one run: counts, IOs a second and latencies; None is not known."""

    op: str
    count: int
    iops: float | None = None
    mean_ns: float | None = None
    p50_ns: float | None = None
    p99_ns: float | None = None


def read_witness(path: Path) -> tuple[Told, ...]:
    """Read the figures that a load left: fio's JSON, with other text around it or not, or what `qemu-img bench` prints.

    Raises:
        WitnessError: there is no such file, none of these in it, or it says that a job failed.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_MAX_BYTES)
    except OSError as error:
        raise WitnessError(f"the load has left no {path.name} ({error.strerror})", "see load.witness") from None
    return parse_witness(text, path.name)


def parse_witness(text: str, name: str) -> tuple[Told, ...]:
    """As read_witness, of a text; `name` is for messages."""
    if told := _QEMU_IMG.search(text):
        count, seconds = int(told[1]), float(told[3])
        return (Told(told[2], count, count / seconds if seconds else None),)
    for begin in _BEGIN.finditer(text):
        try:
            data = json.JSONDecoder().raw_decode(text, begin.start())[0]
        except (ValueError, RecursionError):
            continue
        if "fio version" in data:
            return _of_fio(data, name)
    raise WitnessError(f"{name} has no figures of the load", "fio writes them with --output-format=json")


def _of_fio(data: Mapping[str, object], name: str) -> tuple[Told, ...]:
    jobs = data.get("jobs")
    if not isinstance(jobs, list) or not jobs or not all(isinstance(job, dict) for job in jobs):
        raise WitnessError(f"{name}: fio tells of no jobs", "did it come to its end?")
    for job in jobs:
        if job.get("error"):
            raise WitnessError(f"{name}: fio's job {job.get('jobname')!r} failed with error {job['error']}")
    return tuple(told for op in _OPS if (told := _of_op(op, [job.get(op) for job in jobs])))


def _of_op(op: str, parts: Sequence[object]) -> Told | None:
    done = [part for part in parts if isinstance(part, dict) and _number(part.get("total_ios"))]
    if not done:
        return None
    counts = [_number(part["total_ios"]) for part in done]
    times = [_table(part.get("clat_ns")) for part in done]
    count = sum(counts)
    mean = sum(n * _number(time.get("mean")) for n, time in zip(counts, times, strict=True)) / count
    # quantiles of several jobs cannot be put together: fio gives one set with --group_reporting
    percentiles = _table(times[0].get("percentile")) if len(done) == 1 else {}
    quantiles = {key: _number(percentiles.get(name)) or None for key, name in _PERCENTILES.items()}
    iops = sum(_number(part.get("iops")) for part in done)
    return Told(_OP_NAMES.get(op, op), int(count), iops or None, mean or None, **quantiles)


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float:
    """Return a number that can be believed, else 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST
    return float(value) if is_number else 0.0  # type: ignore[arg-type]
