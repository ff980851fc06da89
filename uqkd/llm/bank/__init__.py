"""The sample bank: every response of a teacher, drawn or imported once and kept."""

from uqkd.llm.bank.bank import STUDY, Bank, Inventory, refuse_other

__all__ = ["STUDY", "Bank", "Inventory", "refuse_other"]
