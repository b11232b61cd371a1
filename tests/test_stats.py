"""Statistics against closed forms, scipy, enumeration and simulation."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from valuetrace.stats import blocks, bootstrap, inference
from valuetrace.stats.ranks import rank_words, residuals, subset_medians, weighted_correlation

RNG = np.random.default_rng
SIZES, SEEDS = np.tile([125.0, 250, 500, 1000], 3), np.repeat([1, 2, 3], 4)


def test_welch_is_second_minus_first_and_equals_scipy():
    first, second = RNG(0).normal(size=(12, 3)), RNG(1).normal(1, 3, size=(20, 3))
    ours, theirs = inference.welch_t(first, second), stats.ttest_ind(second, first, equal_var=False)
    np.testing.assert_allclose(ours.t, theirs.statistic)
    np.testing.assert_allclose(ours.p, theirs.pvalue)
    assert inference.welch_t([0.0, 1.0, 2.0], [10.0, 11.0, 12.5]).t > 0


def test_permutation_welch_approaches_the_enumerated_p():
    first, second = np.array([1.0, 2.5, 3.1, 0.2]), np.array([2.0, 4.4, 5.2, 6.1, 3.3])
    values = np.concatenate([first, second])
    observed = abs(stats.ttest_ind(second, first, equal_var=False).statistic)
    ways = []
    for chosen in itertools.combinations(range(9), 5):
        rest = [i for i in range(9) if i not in chosen]
        ways.append(abs(stats.ttest_ind(values[list(chosen)], values[rest], equal_var=False).statistic))
    exact = np.mean(np.array(ways) >= observed - 1e-9)
    assert inference.permutation_welch(first, second, 40_000, seed=3) == pytest.approx(exact, abs=0.01)


def test_permutation_welch_is_never_zero_is_seeded_and_takes_columns():
    first, second = RNG(0).normal(size=(30, 2)), RNG(1).normal([0, 50], size=(30, 2))
    p = inference.permutation_welch(first, second, 199, seed=5)
    assert p[1] == 1 / 200 < p[0]
    assert (p == inference.permutation_welch(first, second, 199, seed=5)).all()
    assert p[0] == inference.permutation_welch(first[:, 0], second[:, 0], 199, seed=5)


def test_constant_data_say_nothing():
    same = np.full(8, 3.0)
    assert inference.permutation_welch(same, same, 99, seed=1) == 1
    assert np.isnan(inference.cohens_d(same, same))


def test_cohens_d_by_hand():
    # means 2 and 5, variances 1 and 4 with n = 3 each: pooled sd = sqrt(2.5)
    assert inference.cohens_d([1, 2, 3], [3, 5, 7]) == pytest.approx(3 / np.sqrt(2.5))


def test_corrections_by_hand():
    np.testing.assert_allclose(inference.bonferroni([0.01, 0.3, 0.5]), [0.03, 0.9, 1.0])
    # Benjamini-Hochberg: p·m/rank, made monotone from the largest down
    np.testing.assert_allclose(inference.fdr_bh([0.04, 0.01, 0.03, 0.5]), [0.16 / 3, 0.04, 0.16 / 3, 0.5])


@pytest.mark.parametrize(("first", "second"), [(4, 6), (5, 5), (1, 1), (3, 3)])
def test_group_permutation_equals_a_plain_enumeration(first, second):
    values = RNG(first).normal(size=first + second)
    is_second = np.arange(first + second) >= first

    def gap(chosen):
        mask = np.isin(np.arange(len(values)), chosen)
        return abs(values[mask].mean() - values[~mask].mean())

    ways = [gap(chosen) for chosen in itertools.combinations(range(len(values)), second)]
    expected = np.mean(np.array(ways) >= gap(np.flatnonzero(is_second)) - 1e-12)
    assert inference.group_permutation(values, is_second) == pytest.approx(expected)


@pytest.mark.parametrize(("first", "second", "smallest"), [(1, 1, 1.0), (3, 3, 0.1), (4, 6, 1 / 210), (5, 5, 2 / 252)])
def test_smallest_p_is_reached_by_separated_groups(first, second, smallest):
    values = np.r_[np.zeros(first), np.full(second, 9.0)] + np.linspace(0, 0.1, first + second)
    p = inference.group_permutation(values, np.arange(first + second) >= first)
    assert inference.smallest_p(first, second) == pytest.approx(smallest) == p


def test_many_units_are_drawn_not_enumerated():
    labels, exact = inference.assignments(40, 20, draws=500, seed=1)
    assert not exact and labels.shape == (500, 40) and (labels.sum(axis=1) == 20).all()
    values = RNG(2).normal(size=40)
    values[20:] += 10
    assert inference.group_permutation(values, np.arange(40) >= 20, draws=500) == 1 / 501


def test_bootstrap_weights_keep_groups_apart():
    groups = np.array(["a", "b", "a", "b", "b"])
    weights = bootstrap.resample_weights(groups, 4_000, RNG(0))
    for group in "ab":
        np.testing.assert_allclose(weights[:, groups == group].sum(axis=1), 1)
    np.testing.assert_allclose(weights.mean(axis=0), [1 / 2, 1 / 3, 1 / 2, 1 / 3, 1 / 3], atol=0.02)


def _balanced(seed, spread):
    rng = RNG(seed)
    index = pd.MultiIndex.from_product([range(6), ["neg", "pos"], ["x", "y"], range(5)])
    frame = index.to_frame(index=False, name=["model", "framing", "construct", "prompt"])
    frame["base"] = np.where(frame["model"] < 3, "A", "B")
    frame["y"] = spread * rng.normal(size=6)[frame["model"]] + rng.normal(size=len(frame))
    return frame


def test_mixed_model_of_balanced_data_has_a_closed_form():
    """The within-model interaction is a contrast of cell means; its variance is the residual mean square's."""
    frame = _balanced(4, spread=2.0)
    fit = inference.mixed_model(frame, "y ~ base * framing * construct", "model", "base:framing:construct")
    cells = frame.groupby(["base", "framing", "construct"])["y"].mean()
    signs = {"A": -1, "B": 1, "neg": -1, "pos": 1, "x": -1, "y": 1}
    contrast = sum(np.prod([signs[part] for part in key]) * value for key, value in cells.items())
    residual = frame["y"] - frame.groupby(["base", "framing", "construct"])["y"].transform("mean")
    by_model = residual.groupby(frame["model"]).transform("mean")
    scale = ((residual - by_model) ** 2).sum() / (len(frame) - 8 - 4)  # 8 cells, 6 models in 2 bases
    row = fit.terms.iloc[-1]
    assert row["estimate"] == pytest.approx(contrast)
    assert row["se"] == pytest.approx(np.sqrt(8 * scale / 15), rel=1e-3)
    assert fit.joint["wald"] == pytest.approx((row["estimate"] / row["se"]) ** 2)
    assert fit.joint["p"] == pytest.approx(row["p"])


def test_mixed_model_with_no_variance_between_models_is_least_squares():
    import statsmodels.formula.api as smf

    frame = _balanced(7, spread=0.0)
    frame["y"] -= frame.groupby("model")["y"].transform("mean")  # less than chance variance between models
    fit = inference.mixed_model(frame, "y ~ base * framing * construct", "model")
    plain = smf.ols("y ~ base * framing * construct", frame).fit()
    np.testing.assert_allclose(fit.terms["estimate"], plain.params, atol=1e-8)
    np.testing.assert_allclose(fit.terms["se"], plain.bse, rtol=5e-3)


def test_subset_medians_equal_medians_of_repeated_words():
    rng = RNG(0)

    def plain(ranks, counts):
        return np.array([np.median(np.repeat(ranks, row, axis=0), axis=0) for row in counts])

    for _ in range(40):
        words = int(rng.integers(1, 40))
        ranks = rng.integers(0, 12, size=(words, 3)).astype(float)  # many ties
        counts = rng.integers(0, 3, size=(80, words))
        counts[counts.sum(axis=1) == 0, 0] = 1
        assert (subset_medians(ranks, counts) == plain(ranks, counts)).all()
    ranks = rank_words(rng.normal(size=(900, 4)))
    low = np.argsort(ranks[:, 0])  # subsets whose medians lie far from where random ones would
    counts = np.zeros((80, 900), dtype=int)
    for row in range(80):
        counts[row, low[row * 10 : row * 10 + 70]] = 1
    assert (subset_medians(ranks, counts) == plain(ranks, counts)).all()


def test_a_subset_without_words_is_refused():
    with pytest.raises(ValueError, match="no words"):
        subset_medians(np.ones((3, 1)), np.zeros((1, 3), dtype=int))


def test_ranks_share_ties_as_the_paper_does():
    scores = np.array([[3.0], [1.0], [3.0], [0.5]])
    np.testing.assert_allclose(rank_words(scores)[:, 0], [1.5, 3, 1.5, 4])
    np.testing.assert_allclose(rank_words(scores, "min")[:, 0], [1, 3, 1, 4])


# --- corrections of what the paper did -------------------------------------------------------------------


def test_holm_by_hand_and_over_tests_that_were_made():
    np.testing.assert_allclose(inference.holm([0.01, 0.04, 0.03, 0.5]), [0.04, 0.09, 0.09, 0.5])
    np.testing.assert_allclose(inference.holm([0.026, np.nan, 0.2]), [0.052, np.nan, 0.2])
    p = np.sort(RNG(0).random(40))
    assert (inference.holm(p) <= inference.bonferroni(p)).all()


def test_cliffs_delta_is_mann_whitneys_u():
    first, second = RNG(0).integers(0, 9, 30), RNG(1).integers(2, 12, 25)  # with ties
    u = stats.mannwhitneyu(second, first).statistic
    assert inference.cliffs_delta(first, second) == pytest.approx(2 * u / (30 * 25) - 1)
    assert inference.cliffs_delta([1, 2], [3, 4]) == 1 == -inference.cliffs_delta([3, 4], [1, 2])


def test_draws_that_do_not_centre_on_0_have_two_tails_of_their_own():
    """Counting draws as far from 0 overlooks what lies beyond the tail that 0 is near to."""
    drawn = RNG(0).normal(-20, 10, size=9_999)
    around_zero = (1 + (np.abs(drawn) >= 15).sum()) / 10_000
    assert around_zero > 0.5 and inference.two_tailed_p(15, drawn) < 0.01
    normal = 2 * stats.norm.sf(1.5)
    assert inference.two_tailed_p(-35, drawn) == pytest.approx(normal, abs=0.02)
    assert inference.two_tailed_p(-5, drawn) == pytest.approx(normal, abs=0.02)
    assert inference.two_tailed_p(-20, drawn) > 0.95


def test_studentised_permutation_equals_a_plain_enumeration_of_welch():
    values, is_second = RNG(3).normal(size=10), np.arange(10) >= 4

    def t(chosen):
        return abs(stats.ttest_ind(values[chosen], values[~chosen], equal_var=False).statistic)

    ways = [t(np.isin(np.arange(10), chosen)) for chosen in itertools.combinations(range(10), 6)]
    expected = np.mean(np.array(ways) >= t(is_second) * (1 - 1e-9))
    assert inference.group_permutation(values, is_second, studentised=True) == pytest.approx(expected)


def test_studentising_keeps_the_size_where_few_models_spread_more():
    is_second, rng = np.arange(16) >= 4, RNG(0)
    p = {False: [], True: []}
    for _ in range(400):
        values = rng.normal(size=16) * np.where(is_second, 1.0, 4.0)  # the smaller group spreads more
        for studentised, own in p.items():
            own.append(inference.group_permutation(values, is_second, studentised=studentised))
    rejected = {studentised: np.mean(np.array(own) <= 0.05) for studentised, own in p.items()}
    assert rejected[False] > 0.15 > 0.09 > rejected[True]


def test_slopes_of_a_balanced_design_are_a_t_test_over_models():
    """With a slope a model the standard error of base × framing is that of the models' own slopes."""
    rng = RNG(2)
    index = pd.MultiIndex.from_product([range(8), ["neg", "pos"], range(5)], names=["model", "framing", "prompt"])
    frame = index.to_frame(index=False)
    frame["base"] = np.where(frame["model"] < 4, "A", "B")
    slopes = 3 * rng.normal(size=8)
    frame["y"] = slopes[frame["model"]] * (frame["framing"] == "pos") + (2 * rng.normal(size=8))[frame["model"]]
    frame["y"] += rng.normal(size=len(frame))
    means = frame.pivot_table("y", "model", "framing")
    own = (means["pos"] - means["neg"]).to_numpy()
    pooled = np.sqrt((own[:4].var(ddof=1) + own[4:].var(ddof=1)) / 2 * (1 / 4 + 1 / 4))
    fit = inference.mixed_model(frame, "y ~ base * framing", "model", "base:framing", slopes="~framing")
    row = fit.terms.iloc[-1]
    assert row["estimate"] == pytest.approx(own[4:].mean() - own[:4].mean())
    assert row["se"] == pytest.approx(pooled, rel=1e-3)
    intercepts_only = inference.mixed_model(frame, "y ~ base * framing", "model", "base:framing")
    assert intercepts_only.terms["se"].iloc[-1] < 0.5 * pooled  # as if the models' slopes were one


def test_binomial_interval_by_hand():
    low, high = inference.binomial_interval(0, 20)
    assert low == 0 and high == pytest.approx(1 - 0.025 ** (1 / 20))


def test_lines_within_seeds_are_exact_without_noise():
    values = 10 * SEEDS + SEEDS * np.log2(SIZES / 125)  # another level and another slope for every seed
    level, slope = blocks.slopes(SIZES, values, SEEDS)
    np.testing.assert_allclose(slope, [1, 2, 3])
    np.testing.assert_allclose(level, [11.5, 23, 34.5])  # 1.5 doublings up is the geometric mean of the sizes
    level, _ = blocks.slopes(SIZES[1:], values[1:], SEEDS[1:])  # a seed without a size: the same place for all
    np.testing.assert_allclose(level, [11.5, 23, 34.5])
    with pytest.raises(ValueError, match="seed 3 has a single size"):
        blocks.slopes(SIZES[:9], values[:9], SEEDS[:9])


def test_over_seeds_is_the_t_test_of_one_sample():
    values = RNG(0).normal(0.4, 1, 5)
    found, theirs = blocks.over_seeds(values), stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()))
    assert found.estimate == pytest.approx(values.mean()) and found.seeds == 5
    assert blocks.over_seeds([2.0]) == (2.0, None, None, None, 1)
    assert blocks.over_seeds([0.0, 0.0]).p == 1 and blocks.over_seeds([2.0, 2.0]).p == 0


def test_seeds_are_the_unit_where_runs_of_a_seed_move_together():
    """Three seeds of four nested sizes, a slope of its own for each seed, none on average.

    A bootstrap over the twelve runs, as if they were independent, finds a slope far too often; t over seeds does not.
    """
    simulations, x = 400, np.log2(SIZES) - np.log2(SIZES).mean()
    rng = RNG(1)
    of_seed = rng.normal(0, [[2], [4]], size=(simulations, 2, 3))  # level, slope
    gaps = of_seed[:, 0, SEEDS - 1] + of_seed[:, 1, SEEDS - 1] * x + rng.normal(size=(simulations, 12))
    p = np.array([blocks.over_seeds(blocks.slopes(SIZES, row, SEEDS)[1]).p for row in gaps])
    low, high = stats.binom.interval(0.999, simulations, 0.05)
    assert low <= (p < 0.05).sum() <= high

    drawn = rng.integers(12, size=(300, 12))
    centred = x[drawn] - x[drawn].mean(axis=1, keepdims=True)
    pooled = (gaps[:, drawn] * centred).sum(axis=2) / (centred**2).sum(axis=1)  # (simulations, draws)
    ends = np.quantile(pooled, [0.025, 0.975], axis=1)
    assert ((ends[0] > 0) | (ends[1] < 0)).sum() > 2 * high


# --- bootstrap over words, rank correlations -----------------------------------------------------


def test_word_draws_keep_each_groups_words_and_size():
    member = np.array([[True] * 7 + [False] * 8, [False] * 5 + [True] * 10])  # two words stand in both groups
    parts = list(bootstrap.word_draws(member, bootstrap.CHUNK + 30, RNG(0)))
    assert [part.shape for part in parts] == [(2, bootstrap.CHUNK, 15), (2, 30, 15)]
    counts = np.concatenate(parts, axis=1)
    assert (counts.sum(axis=2) == [[7], [10]]).all() and (
        counts[~member[:, None].repeat(counts.shape[1], 1)] == 0
    ).all()
    np.testing.assert_allclose(counts[0, :, :7].mean(axis=0), 1, atol=0.1)
    np.testing.assert_allclose(counts[0, :, :7].var(axis=0), 6 / 7, atol=0.1)  # of a multinomial


def test_partial_rank_correlation_is_the_formulas_and_a_regressions():
    ranks = stats.rankdata(RNG(0).normal(size=(40, 3)) + RNG(1).normal(size=(40, 1)), axis=0)
    x, y, control = ranks.T
    left = residuals(np.stack([x, y], axis=1), control)
    found = weighted_correlation(left[:, :1], left[:, 1:], np.ones((1, 40)))[0, 0]
    (xy, xc), yc = (np.corrcoef(x, other)[0, 1] for other in (y, control)), np.corrcoef(y, control)[0, 1]
    assert found == pytest.approx((xy - xc * yc) / np.sqrt((1 - xc**2) * (1 - yc**2)))
    design = np.stack([np.ones(40), control], axis=1)
    for column, values in zip(left.T, (x, y), strict=True):
        fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
        np.testing.assert_allclose(column, values - fitted, atol=1e-9)
    constant = residuals(ranks, np.ones(40))  # nothing is explained by what does not vary
    np.testing.assert_allclose(constant, ranks - ranks.mean(axis=0))
