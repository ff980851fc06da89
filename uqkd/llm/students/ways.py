"""Which way students are trained: by what was measured of each."""

from __future__ import annotations

from uqkd.errors import OptionError
from uqkd.llm.students.initializer import Initializer
from uqkd.llm.students.likelihood import know_leaves
from uqkd.llm.students.training import Compute
from uqkd.stacked.in_turn import LARGE
from uqkd.stacked.replacing import refuse_unknown

TRAINERS = ("auto", "stacked", "sequential")


def chosen_trainer(trainer: str, initializer: Initializer, compute: Compute) -> str:
    """The trainer that is asked for, or the faster one: "stacked" or "sequential".

    Small students, and adapters on one shared base, go through in one pass, if their layers can be stacked and nothing is asked
    that only students trained one after another have; all others in place one after another.

    Raises
    ------
    OptionError
        The stacked trainer was asked for what it does not have.
    """
    if trainer == "stacked" and not compute.plain:
        raise OptionError(
            "trainer 'stacked' computes in float32 and whole batches; leave precision, micro_batch and recompute out, or say "
            "trainer='sequential'."
        )
    if trainer != "auto":
        return trainer
    template = initializer.template
    trained = sum(p.numel() for p in template.parameters() if p.requires_grad)
    if not compute.plain or (initializer.lora is None and trained >= LARGE):
        return "sequential"
    try:
        know_leaves(template)
        refuse_unknown(template, share_frozen=initializer.lora is not None)
    except OptionError:
        return "sequential"
    return "stacked"
