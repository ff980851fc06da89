"""The page of results: every study's question, answer, figure and tables, and the audit of the theory checks."""

from uqkd.report.page.audit import threshold
from uqkd.report.page.published import Published, published
from uqkd.report.page.writing import environment, write

__all__ = ["Published", "environment", "published", "threshold", "write"]
