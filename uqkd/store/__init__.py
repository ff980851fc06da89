"""The only place that writes results: immutable, verified units of work, and the files that people read."""

from uqkd.store.durable import apart, write_new
from uqkd.store.folders import commit_folder, faults_of_folder, is_untouched, verified_folder
from uqkd.store.mirrors import Mirror, mirrored, twin
from uqkd.store.results import Report, Stock, Store, refuse_unsafe
from uqkd.store.units import Inputs, Unit

__all__ = [
    "Inputs",
    "Mirror",
    "Report",
    "Stock",
    "Store",
    "Unit",
    "apart",
    "commit_folder",
    "faults_of_folder",
    "is_untouched",
    "mirrored",
    "refuse_unsafe",
    "twin",
    "verified_folder",
    "write_new",
]
