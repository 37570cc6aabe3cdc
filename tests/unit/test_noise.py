"""Noise and power: against simulated benches, tested as the comparer tests."""

import numpy as np
import pytest
from scipy import stats

from vio.bencher.bars import bar_of
from vio.bencher.noise import Bar, needed_repeats, noise_of, power, power_same, visible_change
from vio.bencher.witness import Told
from vio.comparer.comparison import Figure, Word
from vio.comparer.judge import Candidate, Family, judge
from vio.comparer.options import CompareOptions

ROUGH = Bar(margin=0.05, alpha=0.01, same_error=0.05)
SIMULATED = 4000


def simulated(change: float, spread: float, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithms of a bench's runs, many times: a row for each bench."""
    random = np.random.default_rng(7)
    base, new = random.normal(0, spread, (2, SIMULATED, repeats))
    return base, new + np.log1p(change)


@pytest.mark.parametrize(("change", "spread", "repeats"), [(0.1, 0.02, 5), (0.06, 0.02, 10), (0.2, 0.1, 5)])
def test_power_is_what_a_simulation_of_the_test_gives(change: float, spread: float, repeats: int) -> None:
    base, new = simulated(change, spread, repeats)
    is_found = stats.ttest_ind(new, base, axis=1).pvalue <= ROUGH.alpha
    is_found &= new.mean(axis=1) - base.mean(axis=1) >= np.log1p(ROUGH.margin)
    assert power(change, spread, repeats, ROUGH) == pytest.approx(is_found.mean(), abs=0.03)


@pytest.mark.parametrize(("spread", "repeats"), [(0.02, 5), (0.02, 10), (0.05, 20)])
def test_power_of_same_is_what_a_simulation_gives(spread: float, repeats: int) -> None:
    base, new = simulated(0.0, spread, repeats)
    margin = np.log1p(ROUGH.margin)
    less = stats.ttest_ind(new, base + margin, axis=1, alternative="less").pvalue
    more = stats.ttest_ind(new, base - margin, axis=1, alternative="greater").pvalue
    is_same = np.maximum(less, more) <= ROUGH.same_error
    assert power_same(spread, repeats, ROUGH) == pytest.approx(is_same.mean(), abs=0.03)


def test_without_a_margin_the_power_is_that_of_the_noncentral_t() -> None:
    test = Bar(0.0, 0.05, 0.05)
    away = np.log1p(0.03) / 0.02 * np.sqrt(5 / 2)
    known = float(stats.nct.sf(stats.t.isf(0.025, 8), 8, away))
    assert power(0.03, 0.02, 5, test) == pytest.approx(known, abs=0.005)


def test_what_is_visible_shrinks_with_repeats_but_never_below_what_matters() -> None:
    seen = [visible_change(0.02, repeats, ROUGH) for repeats in (2, 5, 20, 500)]
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == pytest.approx(0.05, abs=0.005)


def test_one_repeat_sees_nothing() -> None:
    assert visible_change(0.02, 1, ROUGH) == float("inf")


def test_needed_repeats_are_the_fewest() -> None:
    assert needed_repeats(lambda count: count >= 17) == 17
    assert needed_repeats(lambda count: count > 5000) is None


def told(mean_ns: float, count: int = 1000) -> tuple[Told, ...]:
    return (Told("read", count, 1000.0, mean_ns, mean_ns, mean_ns * 3),)


def test_noise_is_the_spread_between_runs() -> None:
    values = np.exp(np.random.default_rng(3).normal(12, 0.03, 200))
    noise = noise_of([told(value) for value in values], 5, lambda *_: ROUGH)
    assert [one.figure for one in noise] == ["mean", "p50", "p99"]
    assert noise[0].spread == pytest.approx(0.03, rel=0.1)
    assert noise[0].spread < noise[0].spread_at_most < 0.035
    assert noise[0].drift is None


def test_a_drift_is_named() -> None:
    noise = noise_of([told(1e5 * 1.02**number) for number in range(8)], 5, lambda *_: ROUGH)
    assert noise[0].drift == pytest.approx(0.02, rel=0.05)


def test_an_operation_that_some_runs_lack_has_no_noise() -> None:
    assert noise_of([told(1.0), told(1.0), ()], 5, lambda *_: ROUGH) == ()
    assert noise_of([told(1.0)] * 2, 5, lambda *_: ROUGH) == ()


def test_a_figure_of_few_ios_is_none() -> None:
    noise = noise_of([told(value, 50) for value in (1e5, 2e5, 1e5)], 5, lambda *_: ROUGH)
    assert [one.figure for one in noise] == ["mean", "p50"]
    assert noise_of([told(1e5, 9)] * 3, 5, lambda *_: ROUGH) == ()


def test_equal_runs_have_no_noise() -> None:
    noise = noise_of([told(1e5)] * 4, 3, lambda *_: ROUGH)[0]
    assert (noise.spread, noise.needed) == (0.0, 2)
    assert noise.visible == pytest.approx(0.05, abs=1e-6)


def test_the_bar_is_the_one_that_the_comparer_sets() -> None:
    options = CompareOptions()
    bar = bar_of(options, "mean", 1)
    for p, word in ((bar.alpha * 0.99, Word.SLOWER), (bar.alpha * 1.01, Word.UNDECIDED)):
        figure = Figure("mean", 100.0, 120.0, 20.0, 1.0, 39.0, p)
        judged = judge([Candidate(figure, Family.MEAN, options.min_effect * 100, 1.0)], options.false_alarms)
        assert judged[0].word is word
