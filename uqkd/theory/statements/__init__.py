"""What theory says of linear distillation: one function per statement, checked by simulation in `uqkd.theory.checks`.

Notation: X (P, q) is the fixed design, G = (XᵀX)⁻¹, h(x) = xᵀGx the leverage, `noise_var` the variance of one
teacher response around the teacher's mean, k the number of responses per prompt.
"""

from uqkd.theory.statements.regression import (
    ErrorMoments,
    bootstrap_variance,
    coef_covariance,
    expected_error,
    inter_student_variance,
    interval_coverage,
    reported_variance,
)
from uqkd.theory.statements.weighting import (
    Combined,
    blended_student_variance,
    combine,
    estimated_label_variance,
    graybill_deal_ratio,
    oracle_label_variance,
    precision_variance,
)

__all__ = [
    "Combined",
    "ErrorMoments",
    "blended_student_variance",
    "bootstrap_variance",
    "coef_covariance",
    "combine",
    "estimated_label_variance",
    "expected_error",
    "graybill_deal_ratio",
    "inter_student_variance",
    "interval_coverage",
    "oracle_label_variance",
    "precision_variance",
    "reported_variance",
]
