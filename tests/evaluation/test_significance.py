import math

import numpy as np
import pytest
from scipy import stats

from sear.evaluation.significance import compare, holm


def test_comparison_agrees_with_the_textbook_formulas():
    model, reference = np.array([1.0, 0.5, 0.0, 1.0]), np.array([0.5, 0.5, 0.25, 0.25])
    # differences 1/2, 0, -1/4, 3/4: mean 1/4, squared deviations 1/16 + 1/16 + 1/4 + 1/4 = 5/8
    error = math.sqrt(5 / 8 / 3 / 4)
    found = compare(model, reference)
    assert found.cases == 4
    assert found.difference == 1 / 4
    assert found.relative == pytest.approx((1 / 4) / (3 / 8))
    half = 3.182446305284263 * error  # Student's t, 3 degrees of freedom, 97.5 %
    assert (found.low, found.high) == pytest.approx((1 / 4 - half, 1 / 4 + half))
    x = (1 / 4) / error  # with 3 degrees of freedom the distribution has a closed form
    inside = (math.atan(x / math.sqrt(3)) + (x / math.sqrt(3)) / (1 + x * x / 3)) * 2 / math.pi
    assert found.t_p == pytest.approx(1 - inside)
    # Wilcoxon: the zero falls out, ranks 2, 1, 3 with the 1 negative; of the 8 sign patterns 4 are as far out as W = 1
    assert found.wilcoxon_p == pytest.approx(4 / 8)


def test_comparison_agrees_with_scipy_on_many_cases():
    random = np.random.default_rng(0)
    model, reference = random.integers(0, 16, 300) / 16, random.integers(0, 16, 300) / 16  # exact, with many ties
    found, scipy = compare(model, reference), stats.ttest_rel(model, reference)
    assert found.t_p == pytest.approx(scipy.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(scipy.confidence_interval(0.95)))
    assert found.wilcoxon_p == stats.wilcoxon(model - reference).pvalue
    mirrored = compare(reference, model)
    assert (mirrored.t_p, mirrored.high) == pytest.approx((found.t_p, -found.low))


def test_means_over_seeds_that_are_equal_on_paper_tie():
    random = np.random.default_rng(0)
    model, reference = random.binomial(5, 0.4, 200), random.binomial(5, 0.3, 200)  # hits of five seeds
    found = compare(model / 5, reference / 5)
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(model - reference).pvalue, rel=1e-9)
    raw = stats.wilcoxon(model / 5 - reference / 5).pvalue  # 3/5 - 2/5 and 1/5 - 0 rank apart by rounding alone
    assert abs(raw - found.wilcoxon_p) > 0.01 * found.wilcoxon_p


def test_equal_models_do_not_differ_and_constant_differences_are_certain():
    same = compare(np.array([0.5, 1.0, 0.0]), np.array([0.5, 1.0, 0.0]))
    assert (same.difference, same.low, same.high, same.t_p, same.wilcoxon_p) == (0, 0, 0, 1, 1)
    better = compare(np.array([0.5, 1.0, 0.75]), np.array([0.25, 0.75, 0.5]))
    assert (better.difference, better.low, better.high, better.t_p) == (0.25, 0.25, 0.25, 0)
    tenth = compare(np.array([0.3, 0.6, 0.2]), np.array([0.2, 0.5, 0.1]))  # floats differ by 0.1 and by almost 0.1
    assert (tenth.t_p, tenth.low) == (0, tenth.high)
    assert math.isnan(compare(np.array([0.5, 1.0]), np.zeros(2)).relative)


def test_holm_multiplies_the_smallest_most_and_never_falls():
    # sorted .005 .01 .03 .04: times 4, 3, 2, 1 = .02 .03 .06 .04, and the last may not fall below .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert list(holm([])) == []
