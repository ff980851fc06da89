"""The only place that writes results: immutable, verified units of work, and the files that people read."""

from uqkd.store.results import Report, Store, refuse_unsafe
from uqkd.store.units import Inputs, Unit

__all__ = ["Inputs", "Report", "Store", "Unit", "refuse_unsafe"]
