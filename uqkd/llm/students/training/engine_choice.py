"""Which way students are trained: by what was measured of each."""

from __future__ import annotations

import torch
from torch import nn

from uqkd import seeds
from uqkd.errors import OptionError
from uqkd.llm.students.networks.initializer import Initializer
from uqkd.llm.students.networks.likelihood import SequenceLikelihood, know_leaves
from uqkd.llm.students.training.ways_to_train import Compute
from uqkd.stacked.engines.sequential import LARGE
from uqkd.stacked.layers.replacing import refuse_unknown

ENGINES = ("auto", "stacked", "sequential")


def chosen_engine(engine: str, initializer: Initializer, compute: Compute) -> str:
    """The engine that is asked for, or the faster one: "stacked" or "sequential".

    Small students, and adapters on one shared base, go through in one pass, if their layers can be stacked and nothing is asked
    that only students trained one after another have; all others in place one after another.

    Raises
    ------
    OptionError
        The stacked engine was asked for what it does not have.
    """
    if engine == "stacked" and not compute.plain:
        raise OptionError(
            "engine 'stacked' computes in float32 and whole batches; leave dtype, micro_batch and recompute out, or say "
            "engine='sequential'."
        )
    if engine != "auto":
        return engine
    template = initializer.template
    trained = sum(p.numel() for p in template.parameters() if p.requires_grad)
    if not compute.plain or (initializer.lora is None and trained >= LARGE):
        return "sequential"
    try:
        know_leaves(template)
        refuse_unknown(template, share_frozen=initializer.lora is not None)
    except OptionError:
        return "sequential"
    return "sequential" if _draws_by_itself(template) else "stacked"


def _draws_by_itself(template: SequenceLikelihood) -> bool:
    """Whether a training step draws at random outside of `nn.Dropout`, as attention dropout does (GPT-2, OPT)."""
    row = torch.tensor([[[0, 0, 0], [0, 1, 1]]], device=next(template.parameters()).device)
    training = {part: part.training for part in template.modules()}
    try:
        for part in training:
            part.training = not isinstance(part, nn.Dropout)
        with torch.no_grad(), seeds.torch_stream("llm", "draws by itself", shared=True):
            before = seeds.torch_global_state()
            template(row)
            return not torch.equal(before, seeds.torch_global_state())
    finally:
        for part, was in training.items():
            part.training = was
