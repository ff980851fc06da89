"""Layer 1: linear regression, where every claim has a closed form."""

from uqkd.estimators import estimate
from uqkd.linear.bootstrap import bootstrap_students
from uqkd.linear.students import Design, Students, distill
from uqkd.linear.teacher import OLS, Teacher, fit_ols
from uqkd.targets import NumberTargets, weigh
from uqkd.theory import statements as theory

__all__ = [
    "OLS",
    "Design",
    "NumberTargets",
    "Students",
    "Teacher",
    "bootstrap_students",
    "distill",
    "estimate",
    "fit_ols",
    "theory",
    "weigh",
]
