"""What is measured of distilled students: how unsure each is, how they differ, how far and how wrong they are.

Its function `estimate` is the last verb of the layer.
"""

from uqkd.llm.measuring.answers.likelihoods import likelihoods_of
from uqkd.llm.measuring.estimates import estimate
from uqkd.llm.measuring.losses import HeldOut
from uqkd.llm.measuring.tables.sheet import COLUMNS, EACH, Measured

__all__ = ["COLUMNS", "EACH", "HeldOut", "Measured", "estimate", "likelihoods_of"]
