"""The two sides of a comparison: a path to a recording, a directory of them, or a baseline becomes runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from vio.comparer.baseline import load_baseline
from vio.comparer.recordings import is_baseline, repeats_in
from vio.comparer.run import Block, Run, without_sizes
from vio.errors import UsageError
from vio.reporter.progress import Progress


def runs_at(
    path: Path,
    *,
    with_depth: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    known: Mapping[Path, Run] = MappingProxyType({}),
) -> tuple[Run, ...]:
    """Return the runs of one side, by name; `with_depth`, its IOs by how many were in flight too.

    What has no table of IOs yet is joined first, which calls `on_progress`. Runs that are `known` are not read again.

    Raises:
        RecordingError: there is nothing, or something in it is damaged or of another version.
        UsageError: a baseline, which does not know depths, was to be read with them.
    """
    if is_baseline(path):
        if with_depth:
            raise UsageError(f"{path} does not say how many IOs were in flight", "--normalise needs the recordings")
        return load_baseline(path)
    return tuple(
        known[one] if one in known else _read(one, with_depth, on_progress) for one in repeats_in(path) or [path]
    )


def _read(path: Path, with_depth: bool, on_progress: Callable[[Progress], None] | None) -> Run:
    # Only here: what needs no recording does not wait for the join to be imported.
    from vio.comparer.reading import read_run

    return read_run(path, with_depth=with_depth, on_progress=on_progress)


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What stands for repeats on both sides: the runs, or, with one run a side, the blocks of their time.

    They `are_unsure` if one of the single runs was disturbed: what differs may be that alone.
    """

    base: tuple[Block, ...]
    new: tuple[Block, ...]
    are_blocks: bool
    are_unsure: bool = False


def units_of(base: Sequence[Run], new: Sequence[Run], *, is_by_class: bool) -> Units:
    """Choose the units of two sides; `is_by_class` keeps sizes and depths apart."""
    are_blocks = len(base) == len(new) == 1
    sides = (_blocks(base, are_blocks), _blocks(new, are_blocks))
    both = sides if is_by_class else [tuple(map(without_sizes, side)) for side in sides]
    are_unsure = are_blocks and any(run.info.is_disturbed for run in (*base, *new))
    return Units(both[0], both[1], are_blocks, are_unsure)


def _blocks(runs: Sequence[Run], are_blocks: bool) -> tuple[Block, ...]:
    return runs[0].blocks if are_blocks else tuple(run.whole() for run in runs)
