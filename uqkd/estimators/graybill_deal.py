"""Kept for one import only; `graybill_deal` lives in `uqkd.estimators.weighting`."""

from uqkd.estimators.weighting import EstimatedCombination as EstimatedCombination
from uqkd.estimators.weighting import graybill_deal as graybill_deal
