"""Tests of blocks by resampling them: held to what SciPy says of the same numbers."""

import numpy as np
import pytest
from scipy import stats

from vio.comparer.resample import PERMUTATIONS, bootstrap_interval, permutation_p

COUNT = 60


def sides(blocks: tuple[int, int], shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Two sides of many figures, of spreads and sizes that differ; the later a figure, the more the new side has."""
    draw = np.random.default_rng(4)
    scale = 10 ** draw.uniform(0, 9, COUNT)
    base, new = (draw.gamma(4, size=(count, COUNT)) for count in blocks)
    return base * scale, (new * 1.5 + np.linspace(0, shift, COUNT)) * scale


@pytest.mark.parametrize("blocks", [(4, 4), (3, 5), (6, 6)])
def test_few_blocks_are_shared_out_in_every_way(blocks: tuple[int, int]) -> None:
    base, new = sides(blocks, 8.0)
    method = stats.PermutationMethod(n_resamples=np.inf)
    wanted = stats.ttest_ind(new, base, equal_var=False, method=method).pvalue
    assert permutation_p(base, new) == pytest.approx(wanted)
    assert wanted.min() < 0.05 < wanted.max()


def test_many_blocks_are_shared_out_by_chance() -> None:
    base, new = sides((10, 10), 6.0)
    method = stats.PermutationMethod(n_resamples=PERMUTATIONS, rng=np.random.default_rng(1))
    wanted = stats.ttest_ind(new, base, equal_var=False, method=method).pvalue
    found = permutation_p(base, new)
    error = np.sqrt(2 * np.maximum(wanted, 2 / PERMUTATIONS) / PERMUTATIONS) + 2 / PERMUTATIONS
    assert (np.abs(found - wanted) < 5 * error).all()
    assert found.min() == pytest.approx(2 / (PERMUTATIONS + 1))


def test_the_interval_is_that_of_a_bootstrap() -> None:
    base, new = sides((10, 12), 6.0)
    drawn = stats.bootstrap(
        (new, base),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    low, high = bootstrap_interval(base, new, 0.95)
    width = drawn.high - drawn.low
    assert (np.abs(low - drawn.low) < 0.1 * width).all()
    assert (np.abs(high - drawn.high) < 0.1 * width).all()


def test_equal_sides_are_seldom_called_different() -> None:
    draw = np.random.default_rng(2)
    base, new = draw.gamma(4, size=(2, 10, 2000))
    assert 0.03 < (permutation_p(base, new) < 0.05).mean() < 0.07


def test_sides_without_spread() -> None:
    base, new = np.full((10, 2), 3.0), np.full((10, 2), 3.0)
    new[:, 1] = 5.0
    assert permutation_p(base, new) == pytest.approx([1.0, 2 / (PERMUTATIONS + 1)])


def test_one_block_on_a_side_says_nothing() -> None:
    assert permutation_p(np.array([[1.0]]), np.array([[2.0], [3.0], [4.0]])).tolist() == [1.0]
