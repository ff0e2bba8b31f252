"""Is a difference between two models chance? Paired tests over the same test cases, corrected for their number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
TIE_DECIMALS = 12  # means over seeds that are equal on paper differ by rounding; the Wilcoxon test ranks by size


@dataclass(frozen=True)
class Comparison:
    """One model against the reference on one metric; a difference above 0 means the model is better."""

    cases: int
    difference: float  # mean over cases of model - reference
    low: float  # 95 % confidence interval of the difference (Student's t)
    high: float
    relative: float  # difference / the reference's mean; NaN where that is 0
    t_p: float  # two-sided p-value of the paired t-test
    wilcoxon_p: float  # two-sided p-value of the Wilcoxon signed-rank test; cases without a difference are left out


def compare(values: np.ndarray, reference: np.ndarray) -> Comparison:
    """How the model's values differ from the reference's, case by case.

    Args:
        values, reference: float (cases,), the same case in the same place, each already averaged over seeds.
            At least two cases.
    """
    from scipy import stats

    values, reference = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    assert values.shape == reference.shape and values.ndim == 1 and len(values) > 1, "two values per case, two cases"
    differences = np.round(values - reference, TIE_DECIMALS)
    mean, base = float(differences.mean()), float(reference.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    if not np.ptp(differences):  # every case differs by the same amount: certain, and no test has anything to weigh
        t_p, half = float(mean == 0), 0.0
    else:
        t_p = float(stats.ttest_1samp(differences, 0).pvalue)
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1)) * error
    wilcoxon_p = float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0
    relative = mean / base if base else math.nan
    return Comparison(len(differences), mean, mean - half, mean + half, relative, t_p, wilcoxon_p)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's step-down correction, float (n,): the smallest p-value times n, the next times n - 1, and so on.

    Rejecting what stays below 0.05 keeps the chance of even one false rejection among the n below 0.05.
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    stepped = given[order] * np.arange(len(given), 0, -1)
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return corrected
