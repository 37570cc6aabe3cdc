from pathlib import Path

import pytest
from matplotlib.container import BarContainer
from matplotlib.patches import Rectangle
from tests.builders import a_quality, a_recorded, an_io_table

from vio.layer import Op, Stage
from vio.reporter.choice import Filter
from vio.reporter.figure import figure, save
from vio.reporter.result import Report
from vio.reporter.slowest import Notable
from vio.reporter.summary import Summary


def a_report(count: int = 3_000, disks: int = 1, stages: tuple[Stage, ...] = tuple(Stage)[:7]) -> Report:
    table = an_io_table(count, disks=disks, stages=stages)
    summary, notable = Summary(), Notable(5)
    summary.add(table)
    notable.add(table)
    recorded = a_recorded(disks, stages=stages)
    return Report(recorded, summary, a_quality(), Filter(), notable.slowest, notable.unended)


def widths_of(container: BarContainer) -> list[float]:
    return [patch.get_width() for patch in container.patches if isinstance(patch, Rectangle)]


def test_the_pieces_of_a_bar_add_up_to_the_mean_latency() -> None:
    report = a_report()
    bars = figure(report).axes[0]

    pieces = [widths_of(one) for one in bars.containers if isinstance(one, BarContainer)]
    sums = [sum(widths) for widths in zip(*pieces, strict=True)]
    means = [group.latency.mean_ns / 1_000 for group in report.summary.by_op().values()]
    assert sums == pytest.approx(means)


def test_one_bar_for_each_operation_and_disk() -> None:
    bars = figure(a_report(disks=2)).axes[0]

    labels = [label.get_text().partition("\n")[0] for label in bars.get_yticklabels()]
    assert labels[:4] == ["read vda", "read vdb", "write vda", "write vdb"]


def test_a_curve_for_each_stage_and_for_the_whole() -> None:
    report = a_report(stages=tuple(Stage))
    curves = figure(report).axes[1]

    lines = {str(line.get_label()): line for line in curves.get_lines()}
    assert set(lines) == {"all layers: latency", *Stage, "unattributed"}
    first = float(lines["all layers: latency"].get_ydata()[0])  # type: ignore[index, arg-type]
    assert first == pytest.approx(report.summary.total().latency.quantile_ns(0.5))


def test_the_title_says_what_was_recorded() -> None:
    title = figure(a_report()).get_suptitle()

    assert "3,000 IOs of web-1" in title
    assert "hypervisor" in title


@pytest.mark.parametrize("count", [1, 2, 30])
def test_few_ios_can_be_drawn(count: int, tmp_path: Path) -> None:
    report = a_report(count)
    report.choice = Filter((Op.READ,))

    save(figure(report), tmp_path / "x.png")

    assert (tmp_path / "x.png").stat().st_size > 10_000
