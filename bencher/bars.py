"""What a change has to pass to be called one: as the comparer holds down the false alarms of all figures together."""

from typing import Final

from vio.bencher.noise import Bar
from vio.comparer.judge import SHARES, Family
from vio.comparer.options import CompareOptions
from vio.comparer.statistics import SAME_ERROR
from vio.comparer.values import SHARES as QUANTILES

_QUANTILES: Final = 2 * len(QUANTILES)
"""So many tests of each operation share their family's false alarms: with all runs, and without extreme ones."""


def bar_of(options: CompareOptions, figure: str, op_count: int) -> Bar:
    """Return the bar for a figure (mean, p50 ...) where so many operations of one disk are compared."""
    family, count = (Family.MEAN, op_count) if figure == "mean" else (Family.QUANTILE, op_count * _QUANTILES)
    # the false alarms are those in one direction, the test is of both
    return Bar(options.min_effect, 2 * options.false_alarms * SHARES[family] / count, SAME_ERROR)
