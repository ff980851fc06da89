"""Answers of studies: a sentence with numbers of their tables (`measured`, `elsewhere`), held against a README's (`readme`)."""

from uqkd.report.answers.answer import Answer, Number, Shows

__all__ = ["Answer", "Number", "Shows"]
