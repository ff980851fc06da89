"""Reports of one file: everything that a reader needs is inside, nothing is fetched, nothing runs."""

from uqkd.report.standalone.bank import bank_report
from uqkd.report.standalone.frame import LARGEST
from uqkd.report.standalone.results import results_report
from uqkd.report.standalone.students import students_report

__all__ = ["LARGEST", "bank_report", "results_report", "students_report"]
