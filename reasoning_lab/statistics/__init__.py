"""Estimates with intervals: accuracies, differences, gaps, pass@k, calibration, and what sharpening can bring."""

from reasoning_lab.statistics.calibration import Bin, Calibration, calibration, leave_one_out_confidence
from reasoning_lab.statistics.comparison import (
    Compared,
    Paired,
    accuracy_interval,
    compare_all,
    crossed_interval,
    holm,
    mcnemar,
    paired_difference,
    sign_flip_p,
)
from reasoning_lab.statistics.diagnostics import exploration, sharpening_slope, sharpening_tax
from reasoning_lab.statistics.gap import gap_recovered
from reasoning_lab.statistics.intervals import (
    LEVEL,
    RESAMPLES,
    Floats,
    Interval,
    binomial_interval,
    mean_interval,
    percentile_interval,
    resample_weights,
    share_interval,
)
from reasoning_lab.statistics.outcomes import ArmOutcomes, Outcomes, answers, outcomes
from reasoning_lab.statistics.passk import PassCurve, pass_curve, pass_difference, unbiased_pass_at_k

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "ArmOutcomes",
    "Bin",
    "Calibration",
    "Compared",
    "Floats",
    "Interval",
    "Outcomes",
    "Paired",
    "PassCurve",
    "accuracy_interval",
    "answers",
    "binomial_interval",
    "calibration",
    "compare_all",
    "crossed_interval",
    "exploration",
    "gap_recovered",
    "holm",
    "leave_one_out_confidence",
    "mcnemar",
    "mean_interval",
    "outcomes",
    "paired_difference",
    "pass_curve",
    "pass_difference",
    "percentile_interval",
    "resample_weights",
    "share_interval",
    "sharpening_slope",
    "sharpening_tax",
    "sign_flip_p",
    "unbiased_pass_at_k",
]
