"""What is measured: pure functions of arrays, NumPy and SciPy only.

By question; what each returns is a class beside it, in its module.

- What do the draws of any layer say, all at once? `estimate`
- How much do students vary, between and within? `decompose_variance`, `decompose_unbalanced`, `inter_student_variance`,
  `intra_student_variance`, `variance_of_means`, `decompose_gaussian`, `decompose_categorical`,
  `variance_components`, `mean_variance_components`, `reml_components`, `share_of`, `uncertainty_shares`, `share_variances`,
  `expected_share_variances`, `Moments`
- How uncertain is a distribution over classes? `gini`, `entropy`, `kl_divergence`
- How much do texts, grouped by what they say, vary? `decompose_agreement`, `decompose_entropy`,
  `likelihood_entropy`, `gini_from_draws`, `squared_distance`
- How far apart are distributions, of numbers or vectors? `energy_distance`
- What do the probabilities of an answer's tokens say? `answer_likelihoods`, `auroc_values`
- What does averaging k responses leave? `average_responses`, `fit_averaging_law`, `fit_power_law`
- How are sources of unequal noise combined? `inverse_variance_weight`, `blue`, `graybill_deal`, `shrink_variances`
- Is a classifier calibrated, and what does it know of its errors? `summarise_classifier`, `accuracy`,
  `expected_calibration_error`, `overconfidence_error`, `signed_gap`, `brier_score`, `negative_log_likelihood`,
  `reliability_curve`, `fit_temperature`, `apply_temperature`, `class_accuracy_changes`, `risk_coverage`,
  `area_under_risk_coverage`, `correctness_auroc`, `out_of_distribution_auroc`; what tables list, and how one more is added:
  `MEASURES`, `Measure`
- Is it linear between rows, and like its teacher? `nonlinearity`, `off_pair_mass`, `entropy_excess`, `by_share`,
  `feature_linearity`, `linear_cka`
- How sure is an estimate? `bootstrap_interval`, `variance_interval`, `two_way_mean`, `half_width`,
  `difference_half_width`, `mean_and_error`, `leave_level_out_error`
- At which level are intervals given? `LEVEL`, `normal_half_width`, `normal_quantile`, `percent`, `tails`
- Does theory, or a claim, hold? `comparison`, `judge_claim`
"""

from uqkd.estimators.answers.agreement import decompose_agreement, gini_from_draws
from uqkd.estimators.answers.distance import squared_distance
from uqkd.estimators.answers.energy import energy_distance
from uqkd.estimators.answers.likelihoods import answer_likelihoods
from uqkd.estimators.answers.semantic import decompose_entropy, likelihood_entropy
from uqkd.estimators.answers.shares import expected_share_variances, share_variances
from uqkd.estimators.averaging.averaged import average_responses
from uqkd.estimators.averaging.laws import fit_averaging_law, fit_power_law
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
from uqkd.estimators.calibration.measures import MEASURES, Measure, accuracy
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
from uqkd.estimators.comparing.claims import judge_claim
from uqkd.estimators.comparing.theory_rows import comparison
from uqkd.estimators.estimating import estimate
from uqkd.estimators.intervals.bootstrap import bootstrap_interval
from uqkd.estimators.intervals.half_widths import difference_half_width, half_width, mean_and_error
from uqkd.estimators.intervals.jackknife import leave_level_out_error
from uqkd.estimators.intervals.level import LEVEL, normal_half_width, normal_quantile, percent, tails
from uqkd.estimators.intervals.mean_squares import variance_interval
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
    "answer_likelihoods",
    "apply_temperature",
    "area_under_risk_coverage",
    "auroc_values",
    "average_responses",
    "blue",
    "bootstrap_interval",
    "brier_score",
    "by_share",
    "class_accuracy_changes",
    "comparison",
    "correctness_auroc",
    "decompose_agreement",
    "decompose_categorical",
    "decompose_entropy",
    "decompose_gaussian",
    "decompose_unbalanced",
    "decompose_variance",
    "difference_half_width",
    "energy_distance",
    "entropy",
    "entropy_excess",
    "estimate",
    "expected_calibration_error",
    "expected_share_variances",
    "feature_linearity",
    "fit_averaging_law",
    "fit_power_law",
    "fit_temperature",
    "gini",
    "gini_from_draws",
    "graybill_deal",
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
    "mean_variance_components",
    "negative_log_likelihood",
    "nonlinearity",
    "normal_half_width",
    "normal_quantile",
    "off_pair_mass",
    "out_of_distribution_auroc",
    "overconfidence_error",
    "percent",
    "reliability_curve",
    "reml_components",
    "risk_coverage",
    "share_of",
    "share_variances",
    "shrink_variances",
    "signed_gap",
    "squared_distance",
    "summarise_classifier",
    "tails",
    "two_way_mean",
    "uncertainty_shares",
    "variance_components",
    "variance_interval",
    "variance_of_means",
]
