"""What is measured of distilled students: how unsure each is, how they differ, how far and how wrong they are.

The room is not called `measure`, since `uqkd.llm.measure` is its function.
"""

from uqkd.llm.measuring.estimates import measure
from uqkd.llm.measuring.losses import HeldOut
from uqkd.llm.measuring.tables.sheet import COLUMNS, EACH, Measured

__all__ = ["COLUMNS", "EACH", "HeldOut", "Measured", "measure"]
