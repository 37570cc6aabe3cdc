"""`make bench-compare`: does `vio compare` cry wolf, does it find what was slowed, and how quick is it?

`python -m lab.bench_compare [FOLDER]`: FOLDER keeps the recordings, and those that it has are not made again.
"""

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory

from lab import bench_compare_speed
from lab.compareruns import BASE, SLOWED, record_runs
from lab.shiftrun import shifted
from vio.comparer.compare import Loaded, compare_loaded
from vio.comparer.comparison import Comparison, Verdict, Word
from vio.comparer.options import CompareOptions
from vio.comparer.reading import read_run
from vio.comparer.run import LATENCY, Run
from vio.comparer.values import STATISTICS, table_of

_PAIRS, _SINGLE_PAIRS, _REPEATS = 300, 100, 5
_LAYERS = {"device": "device_between_ns", "qemu-block down": "qemu_block_down_ns", "qemu-aio up": "qemu_aio_up_ns"}
_SEED = 6
_OPTIONS = CompareOptions()


@dataclass(slots=True)
class Found:
    """What comparisons of one sort found, in counts."""

    pairs: int = 0
    words: Counter[Word] = field(default_factory=Counter)
    """In how many comparisons any figure at all, of the latency or of a part, had the word."""
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    means: Counter[Word] = field(default_factory=Counter)
    firsts: Counter[str] = field(default_factory=Counter)
    """The part that is named first, where the verdict is slower."""

    def add(self, comparison: Comparison) -> None:
        """Count a comparison."""
        self.pairs += 1
        self.verdicts[comparison.verdict] += 1
        rows = [row for cell in comparison.cells for row in (cell.total, *(part.figures for part in cell.parts))]
        self.words.update({figure.word for row in rows for figure in row})
        cell = comparison.cells[0]
        if comparison.verdict is Verdict.SLOWER and cell.found:
            part = cell.culprit(cell.found)
            self.firsts[part.name if part else "-"] += 1
        self.means[cell.mean.word] += 1


def run(folder: Path) -> Iterator[str]:
    """Measure; yield lines of Markdown as they are known."""
    paths = record_runs(folder, _tell)
    with_blocks = {name: [read_run(path) for path in some] for name, some in paths.items()}
    # The blocks count only where a run is alone.
    runs = {name: [replace(one, blocks=(one.whole(),)) for one in some] for name, some in with_blocks.items()}
    base = runs[BASE.name]
    yield from (f"- {name}: {_spread(some)}" for name, some in runs.items())
    yield from ("", *_false_alarms(base, with_blocks[BASE.name]))
    yield from ("", "Slowed for real:", "", *_HEAD)
    for setting in SLOWED:
        found = _many(_PAIRS, partial(_two, base=runs[setting.base], new=runs[setting.name]))
        yield _found_row(f"{setting.layer} +{setting.share:.0%}", found, setting.layer)
    yield from ("", "Runs of the same setting, with a share of the mean added to each IO in one layer:", "", *_HEAD)
    for share in (0.10, 0.05):
        for layer, row in _LAYERS.items():
            found = _many(_PAIRS, partial(_split, runs=base, change=partial(shifted, row=row, share=share)))
            yield _found_row(f"{layer} +{share:.0%}", found, layer)
    yield from ("", bench_compare_speed.run(paths[BASE.name][0]))


_HEAD = (
    f"| {_REPEATS} runs against {_REPEATS} | found | the mean itself | right layer first, of those |",
    "|---|---|---|---|",
)


def _unchanged(run: Run) -> Run:
    return run


def _many(count: int, pair: "Callable[[random.Random], tuple[Sequence[Run], Sequence[Run]]]") -> Found:
    draw, found = random.Random(_SEED), Found()
    for _ in range(count):
        found.add(compare_loaded(Loaded(Path("base"), Path("new"), pair(draw)), _OPTIONS))
    return found


def _two(draw: random.Random, base: Sequence[Run], new: Sequence[Run]) -> tuple[Sequence[Run], Sequence[Run]]:
    return draw.sample(base, _REPEATS), draw.sample(new, _REPEATS)


def _split(
    draw: random.Random, runs: Sequence[Run], change: Callable[[Run], Run], repeats: int = _REPEATS
) -> tuple[Sequence[Run], Sequence[Run]]:
    drawn = draw.sample(runs, 2 * repeats)
    return drawn[:repeats], [change(one) for one in drawn[repeats:]]


def _false_alarms(base: Sequence[Run], with_blocks: Sequence[Run]) -> Iterator[str]:
    yield "| A/A comparisons | pairs | any false slower | any false faster | verdicts |"
    yield "|---|---|---|---|---|"
    for repeats, pairs, runs in ((_REPEATS, _PAIRS, base), (3, _PAIRS, base), (1, _SINGLE_PAIRS, with_blocks)):
        found = _many(pairs, partial(_split, runs=runs, change=_unchanged, repeats=repeats))
        slower, faster = (f"{found.words[word] / found.pairs:.1%}" for word in (Word.SLOWER, Word.FASTER))
        verdicts = ", ".join(f"{verdict} {count}" for verdict, count in found.verdicts.most_common())
        yield f"| {repeats} against {repeats} | {pairs} | {slower} | {faster} | {verdicts} |"


def _found_row(name: str, found: Found, layer: str) -> str:
    slower = found.verdicts[Verdict.SLOWER]
    right = f"{found.firsts[layer] / slower:.1%}" if slower else "-"
    return f"| {name} | {slower / found.pairs:.1%} | {found.means[Word.SLOWER] / found.pairs:.1%} | {right} |"


def _spread(runs: Sequence[Run]) -> str:
    """Say how far runs of one setting lie apart, by the mean and by the median of their latencies."""
    texts = []
    for at, name in enumerate(STATISTICS[:2]):
        values_ns = [_figures(one)[at] for one in runs]
        texts.append(
            f"{name} {fmean(values_ns) / 1e6:.2f} ms with a deviation of {stdev(values_ns) / fmean(values_ns):.1%}"
        )
    return f"{len(runs)} runs, {', '.join(texts)} between runs"


def _figures(run: Run) -> Sequence[float]:
    (tally,) = run.whole().tallies.values()
    return [float(value) for value in table_of([tally], LATENCY).values[0]]


def _tell(text: str) -> None:
    print(f"bench-compare: {text}", file=sys.stderr)


def main(arguments: list[str]) -> int:
    """Run the bench and print it."""
    with TemporaryDirectory(prefix="vio-bench-compare-") as scratch:
        folder = Path(arguments[0]) if arguments else Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for line in run(folder):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
