"""Layer 3: language models. Sample a teacher, distil many students, and see how much of its uncertainty survived.

Names are loaded when they are first used: `import uqkd.llm` alone needs neither torch nor vLLM.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uqkd.llm.bank import Bank
    from uqkd.llm.bank.auditing import audit, audit_rerun
    from uqkd.llm.bank.filling import fill_bank
    from uqkd.llm.measuring import estimate
    from uqkd.llm.models.encoding import Encoder
    from uqkd.llm.prompts import Prompts, read_prompts
    from uqkd.llm.responses import Response, Responses, TextTargets
    from uqkd.llm.sampling import Sampling
    from uqkd.llm.similarity.clusters import cluster
    from uqkd.llm.similarity.embeddings import embed
    from uqkd.llm.students.crossfit import cross_fitted
    from uqkd.llm.students.distilling import Students, distill
    from uqkd.llm.students.networks.adapters import Lora
    from uqkd.llm.synthetic.exact import answer_classes, answer_probabilities, answer_shares
    from uqkd.llm.synthetic.testbed import Size, Testbed
    from uqkd.llm.synthetic.world import World
    from uqkd.llm.targets import folds, weigh
    from uqkd.llm.teachers import open_teacher
    from uqkd.stacked import Recipe, SeedDesign

_HOME = {
    "Bank": "uqkd.llm.bank",
    "Testbed": "uqkd.llm.synthetic.testbed",
    "Encoder": "uqkd.llm.models.encoding",
    "Lora": "uqkd.llm.students.networks.adapters",
    "Prompts": "uqkd.llm.prompts",
    "Recipe": "uqkd.stacked",
    "Response": "uqkd.llm.responses",
    "Responses": "uqkd.llm.responses",
    "Sampling": "uqkd.llm.sampling",
    "Size": "uqkd.llm.synthetic.testbed",
    "SeedDesign": "uqkd.stacked",
    "Students": "uqkd.llm.students.distilling",
    "TextTargets": "uqkd.llm.responses",
    "World": "uqkd.llm.synthetic.world",
    "answer_classes": "uqkd.llm.synthetic.exact",
    "answer_probabilities": "uqkd.llm.synthetic.exact",
    "answer_shares": "uqkd.llm.synthetic.exact",
    "audit": "uqkd.llm.bank.auditing",
    "audit_rerun": "uqkd.llm.bank.auditing",
    "cluster": "uqkd.llm.similarity.clusters",
    "cross_fitted": "uqkd.llm.students.crossfit",
    "distill": "uqkd.llm.students.distilling",
    "estimate": "uqkd.llm.measuring",
    "embed": "uqkd.llm.similarity.embeddings",
    "folds": "uqkd.llm.targets",
    "open_teacher": "uqkd.llm.teachers",
    "read_prompts": "uqkd.llm.prompts",
    "fill_bank": "uqkd.llm.bank.filling",
    "weigh": "uqkd.llm.targets",
}

__all__ = [
    "Bank",
    "Encoder",
    "Lora",
    "Prompts",
    "Recipe",
    "Response",
    "Responses",
    "Sampling",
    "SeedDesign",
    "Size",
    "Students",
    "Testbed",
    "TextTargets",
    "World",
    "answer_classes",
    "answer_probabilities",
    "answer_shares",
    "audit",
    "audit_rerun",
    "cluster",
    "cross_fitted",
    "distill",
    "embed",
    "estimate",
    "fill_bank",
    "folds",
    "open_teacher",
    "read_prompts",
    "weigh",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'uqkd.llm' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
