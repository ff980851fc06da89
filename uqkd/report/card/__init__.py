"""The uncertainty card of a student: what it is made of, what was measured of it, and what was not."""

from uqkd.report.card.card import Card, card_of
from uqkd.report.card.facts import FACTS, Facts, keep_facts, read_facts
from uqkd.report.card.merging import merged

__all__ = ["FACTS", "Card", "Facts", "card_of", "keep_facts", "merged", "read_facts"]
