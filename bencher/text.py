"""A bench's result as text: the noise, the witness, and where it all is. The comparison has a text of its own."""

import math
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vio.bencher.agreement import FIGURES, Agreement, agreements
from vio.bencher.bench import BenchResult
from vio.bencher.noise import Noise
from vio.bencher.order import Side
from vio.comparer.comparison import Verdict
from vio.comparer.doubts import BUSY, waiting_shares
from vio.printable import printable, shell_word
from vio.reporter.units import share_text, time_text

_LOUD = {Verdict.SLOWER, Verdict.FASTER}


def bench_text(result: BenchResult) -> RenderableType:
    """Draw what stands beside the comparison."""
    parts: list[RenderableType] = [*_noise(result), *_disturbed(result), *_witness(result)]
    parts += [Text(line) for line in _where(result)]
    return Group(*parts)


def noise_sentence(noise: Sequence[Noise], name: str) -> str:
    """Say in words which change of the mean can be seen, of the operation that is noisiest."""
    means = [one for one in noise if one.figure == "mean"]
    if not means:
        return f"noise of {name}: not known (2 runs or fewer, or no operation that all have)"
    worst = max(means, key=lambda one: one.visible)
    return (
        f"noise of {name}, from {worst.run_count} runs: with {worst.repeats} repeats a side, "
        f"{_visible(worst)}; for one of {share_text(worst.change)} it takes {_repeats(worst.needed)} repeats"
    )


def _visible(noise: Noise) -> str:
    if math.isinf(noise.visible):
        return f"no change of the mean {noise.op} is found with certainty"
    return f"a change of {share_text(noise.visible)} of the mean {noise.op} is found in 9 of 10 cases"


def _noise(result: BenchResult) -> Iterator[RenderableType]:
    name = printable(result.scenario.a.name)
    yield Text(noise_sentence(result.noise, name))
    if not result.noise:
        return
    yield _noise_table(result.noise)
    yield Text("at most: with 90 % confidence, as few runs know their own spread badly")
    for one in result.noise:
        if one.drift is not None:
            yield Text(f"{one.op} {one.figure} drifts: {one.drift:+.1%} from run to run; does the machine warm up?")
    yield from _busy(result)
    if result.aa and result.aa.verdict in _LOUD:
        yield Text(f"A/A: {name} against itself reads {result.aa.verdict}: this machine is too uneven for such a bench")
    elif result.aa:
        yield Text(f"A/A: {name} against itself reads {result.aa.verdict}, as it should")


def _disturbed(result: BenchResult) -> Iterator[Text]:
    """Say how many runs the hypervisor below disturbed, and how many of them are among those that count."""
    runs, most = result.journal.runs, result.scenario.most_stolen
    again = sum(run.tries - 1 for run in runs)
    if again:
        cause = f"the hypervisor below withheld more than {share_text(most)} of the CPUs"
        yield Text(f"runs made again, as {cause}: {again}")
    left = sum(run.stolen_share > most for run in runs)
    if left:
        yield Text(f"{left} of {len(runs)} runs count though it did so each time: what is below this host is too busy")


def _busy(result: BenchResult) -> Iterator[Text]:
    """Say of which operations much of the time is waiting for a CPU: the cause of most noise that is not the disk's."""
    of_a = result.aa or result.comparison
    for cell in of_a.cells if of_a else ():
        if cell.refused:
            continue
        share, _ = waiting_shares(cell)
        if share > BUSY:
            waits = f"{cell.op}: {share_text(share)} of the mean is waiting for a CPU"
            yield Text(f"{waits}: this machine is busy, which is noise too")


def _noise_table(noise: Sequence[Noise]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("op", "figure"):
        table.add_column(column)
    repeats, change = noise[0].repeats, share_text(noise[0].change)
    for column in ("spread", "at most", f"seen with {repeats}", "at most", f"repeats for {change}", "for same"):
        table.add_column(column, justify="right")
    for one in noise:
        shares = [one.spread, one.spread_at_most, one.visible, one.visible_at_most]
        needed = [_repeats(one.needed), _repeats(one.needed_same)]
        table.add_row(one.op, one.figure, *("none" if math.isinf(x) else share_text(x) for x in shares), *needed)
    return table


def _repeats(count: int | None) -> str:
    return f"{count:,}" if count else "> 1,000"


def _witness(result: BenchResult) -> Iterator[RenderableType]:
    found = agreements(result.journal.runs)
    if not found:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("setting", "op", "figure"):
        table.add_column(column)
    for column in ("the load says", "vio says", "difference"):
        table.add_column(column, justify="right")
    names = {Side.A: result.scenario.a.name, Side.B: result.scenario.b.name}
    for one in found:
        shown = [_value(one, value) for value in (one.told, one.ours)]
        table.add_row(printable(names[one.side]), one.op, FIGURES[one.figure], *shown, f"{one.difference:+.1%}")
    yield Text("\nThe load's own figures, means of its runs (latencies begin where the load hands its IO over):")
    yield table


def _value(one: Agreement, value: float) -> str:
    return time_text(value) if one.figure.endswith("_ns") else f"{value:,.0f}"


def _where(result: BenchResult) -> Iterator[str]:
    if result.journal.stops:
        yield f"Broken off and resumed ({result.journal.stops}): the runs are not of one stretch of time."
    place = shell_word(str(result.output))
    if result.comparison:
        yield f"next: vio compare {place}/a {place}/b; vio report {place}/b/001.vio"
    else:
        yield f"next: vio report {place}/aa/1/001.vio"
