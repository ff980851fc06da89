"""What is measured: pure functions of arrays, NumPy and SciPy only.

By question; what each returns is a class beside it, in its module.

- What do the draws of any layer say, all at once? `estimate`
- How much do students vary, between and within? `decompose_variance`, `decompose_unbalanced`, `inter_student_variance`,
  `intra_student_variance`, `variance_of_means`, `decompose_gaussian`, `decompose_categorical`,
  `variance_components`, `mean_variance_components`, `reml_components`, `share_of`, `uncertainty_shares`, `share_variances`,
  `expected_share_variances`, `Moments`
- How uncertain is a distribution over classes? `gini`, `entropy`, `kl_divergence`
- How far is a classifier from what people say (raters, annotators, human label distributions)? `distance_to_raters`,
  `entropy_from_counts`
- How much do texts, grouped by what they say, vary? `decompose_agreement`, `decompose_entropy`,
  `likelihood_entropy`, `gini_from_draws`, `squared_distance`
- What does averaging k responses leave? `average_responses`, `averaging_law_of`, `fit_averaging_law`, `fit_power_law`
- How far apart are distributions, of numbers or vectors? `energy_distance`
- What do the probabilities of an answer's tokens say? `answer_likelihoods`, `auroc_values`
- How are sources of unequal noise combined? `inverse_variance_weight`, `blue`, `graybill_deal`, `shrink_variances`
- Is a classifier calibrated, and what does it know of its errors? `summarise_classifier`, `accuracy`,
  `accuracy_interval`, `calibration_error`, `debiased_calibration_error`, `classwise_calibration_error`,
  `kernel_calibration_error`, `reliability_band`, `expected_calibration_error`, `overconfidence_error`, `signed_gap`,
  `brier_score`, `negative_log_likelihood`, `reliability_curve`, `fit_temperature`, `apply_temperature`,
  `class_accuracy_changes`, `risk_coverage`, `area_under_risk_coverage`, `correctness_auroc`,
  `out_of_distribution_auroc`; what tables list, and how one more is added: `MEASURES`, `Measure`
- Which classes may it be, at a stated chance? `conformal_sets`
- Is it linear between rows, and like its teacher? `nonlinearity`, `off_pair_mass`, `entropy_excess`, `by_share`,
  `feature_linearity`, `linear_cka`
- How good are Gaussian predictions, and prediction intervals? `gaussian_crps`, `gaussian_mixture_crps`, `gaussian_log_score`,
  `gaussian_interval`, `interval_score`, `interval_coverage`
- How sure is an estimate? `.mean.interval()` of every decomposition, `variance_interval`, `table_interval`,
  `proportion_interval`, `bootstrap_interval`, `two_way_mean`, `half_width`, `variance_half_widths`, `difference_half_width`,
  `mean_and_error`, `leave_level_out_error`
- At which level are intervals given? `LEVEL`, `normal_half_width`, `normal_quantile`, `percent`, `tails`
- Do two methods differ, and how many more students or prompts would tell? `compare`, `compare_methods`, `measure_names`,
  `adjusted_p_values`
- Does theory, or a claim, hold? `comparison`, `judge_claim`
"""

from uqkd.estimators.answers.agreement import decompose_agreement, gini_from_draws
from uqkd.estimators.answers.distance import squared_distance
from uqkd.estimators.answers.energy import energy_distance
from uqkd.estimators.answers.likelihoods import answer_likelihoods
from uqkd.estimators.answers.raters import distance_to_raters, entropy_from_counts
from uqkd.estimators.answers.semantic import decompose_entropy, likelihood_entropy
from uqkd.estimators.answers.shares import expected_share_variances, share_variances
from uqkd.estimators.averaging.averaged import average_responses
from uqkd.estimators.averaging.laws import fit_averaging_law, fit_power_law
from uqkd.estimators.averaging.students import averaging_law_of
from uqkd.estimators.calibration.binned import (
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
    overconfidence_error,
    reliability_curve,
    signed_gap,
)
from uqkd.estimators.calibration.class_changes import class_accuracy_changes
from uqkd.estimators.calibration.linearity import by_share, entropy_excess, nonlinearity, off_pair_mass
from uqkd.estimators.calibration.measures import MEASURES, Measure, accuracy, accuracy_interval
from uqkd.estimators.calibration.ranking import auroc_values
from uqkd.estimators.calibration.representation import feature_linearity, linear_cka
from uqkd.estimators.calibration.selective import (
    area_under_risk_coverage,
    correctness_auroc,
    out_of_distribution_auroc,
    risk_coverage,
)
from uqkd.estimators.calibration.summary import summarise_classifier
from uqkd.estimators.calibration.temperature import apply_temperature, fit_temperature
from uqkd.estimators.calibration.uncertainty.band import reliability_band
from uqkd.estimators.calibration.uncertainty.binned_error import calibration_error, debiased_calibration_error
from uqkd.estimators.calibration.uncertainty.classwise import classwise_calibration_error
from uqkd.estimators.calibration.uncertainty.kernel import kernel_calibration_error
from uqkd.estimators.comparing.claims import judge_claim
from uqkd.estimators.comparing.differences import compare
from uqkd.estimators.comparing.measures import measure_names
from uqkd.estimators.comparing.multiple import adjusted_p_values
from uqkd.estimators.comparing.several import compare_methods
from uqkd.estimators.comparing.theory_rows import comparison
from uqkd.estimators.estimating import estimate
from uqkd.estimators.forecasts.conformal import conformal_sets
from uqkd.estimators.forecasts.gaussian import (
    gaussian_crps,
    gaussian_interval,
    gaussian_log_score,
    gaussian_mixture_crps,
    interval_coverage,
    interval_score,
)
from uqkd.estimators.intervals.bootstrap import bootstrap_interval
from uqkd.estimators.intervals.each_prompt import variance_interval
from uqkd.estimators.intervals.half_widths import (
    difference_half_width,
    half_width,
    mean_and_error,
    variance_half_widths,
)
from uqkd.estimators.intervals.jackknife import leave_level_out_error
from uqkd.estimators.intervals.level import LEVEL, normal_half_width, normal_quantile, percent, tails
from uqkd.estimators.intervals.prompt_means.tables import table_interval
from uqkd.estimators.intervals.proportions import proportion_interval
from uqkd.estimators.variance.categorical import (
    decompose_categorical,
    entropy,
    gini,
    kl_divergence,
    uncertainty_shares,
)
from uqkd.estimators.variance.components import mean_variance_components, variance_components
from uqkd.estimators.variance.moments import (
    decompose_gaussian,
    decompose_variance,
    inter_student_variance,
    intra_student_variance,
    variance_of_means,
)
from uqkd.estimators.variance.streaming import Moments
from uqkd.estimators.variance.two_way import share_of, two_way_mean
from uqkd.estimators.variance.unbalanced.decomposing import decompose_unbalanced
from uqkd.estimators.variance.unbalanced.reml import reml_components
from uqkd.estimators.weighting.graybill_deal import blue, graybill_deal, inverse_variance_weight
from uqkd.estimators.weighting.shrinkage import shrink_variances

__all__ = [
    "LEVEL",
    "MEASURES",
    "Measure",
    "Moments",
    "accuracy",
    "accuracy_interval",
    "adjusted_p_values",
    "answer_likelihoods",
    "apply_temperature",
    "area_under_risk_coverage",
    "auroc_values",
    "average_responses",
    "averaging_law_of",
    "blue",
    "bootstrap_interval",
    "brier_score",
    "by_share",
    "calibration_error",
    "class_accuracy_changes",
    "classwise_calibration_error",
    "compare",
    "compare_methods",
    "comparison",
    "conformal_sets",
    "correctness_auroc",
    "debiased_calibration_error",
    "decompose_agreement",
    "decompose_categorical",
    "decompose_entropy",
    "decompose_gaussian",
    "decompose_unbalanced",
    "decompose_variance",
    "difference_half_width",
    "distance_to_raters",
    "energy_distance",
    "entropy",
    "entropy_excess",
    "entropy_from_counts",
    "estimate",
    "expected_calibration_error",
    "expected_share_variances",
    "feature_linearity",
    "fit_averaging_law",
    "fit_power_law",
    "fit_temperature",
    "gaussian_crps",
    "gaussian_interval",
    "gaussian_log_score",
    "gaussian_mixture_crps",
    "gini",
    "gini_from_draws",
    "graybill_deal",
    "half_width",
    "inter_student_variance",
    "interval_coverage",
    "interval_score",
    "intra_student_variance",
    "inverse_variance_weight",
    "judge_claim",
    "kernel_calibration_error",
    "kl_divergence",
    "leave_level_out_error",
    "likelihood_entropy",
    "linear_cka",
    "mean_and_error",
    "mean_variance_components",
    "measure_names",
    "negative_log_likelihood",
    "nonlinearity",
    "normal_half_width",
    "normal_quantile",
    "off_pair_mass",
    "out_of_distribution_auroc",
    "overconfidence_error",
    "percent",
    "proportion_interval",
    "reliability_band",
    "reliability_curve",
    "reml_components",
    "risk_coverage",
    "share_of",
    "share_variances",
    "shrink_variances",
    "signed_gap",
    "squared_distance",
    "summarise_classifier",
    "table_interval",
    "tails",
    "two_way_mean",
    "uncertainty_shares",
    "variance_components",
    "variance_half_widths",
    "variance_interval",
    "variance_of_means",
]
