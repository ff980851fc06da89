"""What is measured: pure functions of arrays, NumPy and SciPy only."""

from uqkd.estimators.answers.agreement import agreement_with, cross_agreement, decompose_agreement, gini_from_draws
from uqkd.estimators.answers.distance import SquaredDistance, conservation_from_draws, squared_distance
from uqkd.estimators.answers.semantic import (
    EntropyDecomposition,
    decompose_entropy,
    entropy_from_counts,
    likelihood_entropy,
)
from uqkd.estimators.answers.shares import expected_share_variances, share_variances
from uqkd.estimators.averaging.averaged import Averaged, average_responses
from uqkd.estimators.averaging.laws import AveragingLaw, PowerLaw, fit_averaging_law, fit_power_law
from uqkd.estimators.calibration.binned import (
    ReliabilityCurve,
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
    overconfidence_error,
    reliability_curve,
    signed_gap,
)
from uqkd.estimators.calibration.class_changes import ClassChanges, class_accuracy_changes
from uqkd.estimators.calibration.linearity import MeansByShare, by_share, entropy_excess, nonlinearity, off_pair_mass
from uqkd.estimators.calibration.representation import feature_linearity, linear_cka
from uqkd.estimators.calibration.selective import (
    RiskCoverage,
    area_under_risk_coverage,
    auroc,
    correctness_auroc,
    out_of_distribution_auroc,
    risk_coverage,
)
from uqkd.estimators.calibration.summary import ClassifierSummary, accuracy, summarise_classifier
from uqkd.estimators.calibration.temperature import Temperature, apply_temperature, fit_temperature
from uqkd.estimators.comparing.claims import Claim, judge_claim, two_way_interval
from uqkd.estimators.comparing.theory_rows import comparison
from uqkd.estimators.intervals.bootstrap import bootstrap_interval
from uqkd.estimators.intervals.half_widths import difference_half_width, half_width, mean_and_error
from uqkd.estimators.intervals.jackknife import leave_level_out_error
from uqkd.estimators.intervals.level import LEVEL, normal_half_width, normal_quantile, percent, tails
from uqkd.estimators.intervals.mean_squares import (
    Interval,
    chi_square_interval,
    mean_square_interval,
    variance_interval,
)
from uqkd.estimators.variance.categorical import (
    CategoricalDecomposition,
    decompose_categorical,
    entropy,
    gini,
    kl_divergence,
    uncertainty_shares,
)
from uqkd.estimators.variance.components import Components, mean_variance_components, variance_components
from uqkd.estimators.variance.moments import (
    PromptMean,
    VarianceDecomposition,
    decompose_gaussian,
    decompose_variance,
    inter_student_variance,
    intra_student_variance,
    variance_of_means,
)
from uqkd.estimators.variance.streaming import Moments
from uqkd.estimators.variance.two_way import ratio_values, share_of, two_way_mean, two_way_standard_error
from uqkd.estimators.weighting.exact_variance import claimed_variance_expected, graybill_deal_variance, plug_in_cost
from uqkd.estimators.weighting.graybill_deal import (
    Combination,
    EstimatedCombination,
    blue,
    graybill_deal,
    inverse_variance_weight,
)
from uqkd.estimators.weighting.linear_shrinkage import shrink_towards_mean
from uqkd.estimators.weighting.shrinkage import Shrunk, shrink_variances

__all__ = [
    "LEVEL",
    "Averaged",
    "AveragingLaw",
    "CategoricalDecomposition",
    "Claim",
    "ClassChanges",
    "ClassifierSummary",
    "Combination",
    "Components",
    "EntropyDecomposition",
    "EstimatedCombination",
    "Interval",
    "MeansByShare",
    "Moments",
    "PowerLaw",
    "PromptMean",
    "ReliabilityCurve",
    "RiskCoverage",
    "Shrunk",
    "SquaredDistance",
    "Temperature",
    "VarianceDecomposition",
    "accuracy",
    "agreement_with",
    "apply_temperature",
    "area_under_risk_coverage",
    "auroc",
    "average_responses",
    "blue",
    "bootstrap_interval",
    "brier_score",
    "by_share",
    "chi_square_interval",
    "claimed_variance_expected",
    "class_accuracy_changes",
    "comparison",
    "conservation_from_draws",
    "correctness_auroc",
    "cross_agreement",
    "decompose_agreement",
    "decompose_categorical",
    "decompose_entropy",
    "decompose_gaussian",
    "decompose_variance",
    "difference_half_width",
    "entropy",
    "entropy_excess",
    "entropy_from_counts",
    "expected_calibration_error",
    "expected_share_variances",
    "feature_linearity",
    "fit_averaging_law",
    "fit_power_law",
    "fit_temperature",
    "gini",
    "gini_from_draws",
    "graybill_deal",
    "graybill_deal_variance",
    "half_width",
    "inter_student_variance",
    "intra_student_variance",
    "inverse_variance_weight",
    "judge_claim",
    "kl_divergence",
    "leave_level_out_error",
    "likelihood_entropy",
    "linear_cka",
    "mean_and_error",
    "mean_square_interval",
    "mean_variance_components",
    "negative_log_likelihood",
    "nonlinearity",
    "normal_half_width",
    "normal_quantile",
    "off_pair_mass",
    "out_of_distribution_auroc",
    "overconfidence_error",
    "percent",
    "plug_in_cost",
    "ratio_values",
    "reliability_curve",
    "risk_coverage",
    "share_of",
    "share_variances",
    "shrink_towards_mean",
    "shrink_variances",
    "signed_gap",
    "squared_distance",
    "summarise_classifier",
    "tails",
    "two_way_interval",
    "two_way_mean",
    "two_way_standard_error",
    "uncertainty_shares",
    "variance_components",
    "variance_interval",
    "variance_of_means",
]
