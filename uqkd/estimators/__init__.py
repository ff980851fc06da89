"""What is measured: pure functions of arrays, NumPy and SciPy only."""

from uqkd.estimators.averaging import Averaged, average_responses
from uqkd.estimators.averaging_law import AveragingLaw, PowerLaw, fit_averaging_law, fit_power_law
from uqkd.estimators.categorical import (
    CategoricalDecomposition,
    GiniExpectation,
    decompose_categorical,
    entropy,
    gini,
    memorised_gini,
)
from uqkd.estimators.components import Components, variance_components
from uqkd.estimators.intervals import Interval, chi_square_interval, mean_square_interval, variance_interval
from uqkd.estimators.graybill_deal import EstimatedCombination, graybill_deal
from uqkd.estimators.shrinkage import Shrunk, shrink_variances
from uqkd.estimators.streaming import Moments
from uqkd.estimators.variance import (
    PromptMean,
    VarianceDecomposition,
    decompose_gaussian,
    decompose_variance,
    inter_student_variance,
    intra_student_variance,
    two_way_standard_error,
    variance_of_means,
)
from uqkd.estimators.weighting import Combination, blue, inverse_variance_weight
from uqkd.estimators.weighting_law import claimed_variance_expected, graybill_deal_variance, plug_in_cost
