"""What a student answers, drawn as a teacher's responses are: each from a seed of its own, with a key-value cache."""

from __future__ import annotations

from typing import Any

from uqkd import seeds
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.requests import Request
from uqkd.llm.responses import Response
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.backends.transformers import TransformersTeacher
from uqkd.llm.teachers.teacher import complete


def draw_answers(
    model: Any, encoder: Encoder, prompts: Prompts, draws: int, *, sampling: Sampling, key: tuple[Any, ...]
) -> list[Response]:
    """Draw R responses to each prompt from a student in memory.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        On the device where it is to run; it stays as it is.
    encoder : Encoder
        Of the student.
    prompts : Prompts
    draws : int
        R.
    sampling : Sampling
    key : tuple
        Names the draws, with the prompt's id and the number of the draw: they depend on nothing else but rounding.

    Returns
    -------
    list of P·R Response
        Prompt by prompt.

    Raises
    ------
    DataError
        A family whose cached generation is not what its plain pass computes.
    WorkerError
        Out of memory, or probabilities that are not finite.

    Examples
    --------
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> from uqkd.llm.synthetic.testbed import tokenizer
    >>> from uqkd.llm.synthetic.world import World
    >>> world = World.make(groups=1, entities=1, key=("doc",))
    >>> coder = tokenizer(world)
    >>> model = GPT2LMHeadModel(GPT2Config(vocab_size=len(coder), n_embd=4, n_layer=1, n_head=1))
    >>> prompts = world.prompts(relations=["home"])
    >>> made = draw_answers(model, Encoder(coder, False), prompts, 2, sampling=Sampling(max_tokens=3), key=("doc",))
    >>> len(made) == 2 * len(prompts), len(made[0].token_ids)
    (True, 3)
    """
    teacher = TransformersTeacher.around(model, encoder)
    asked = [
        Request(ids, seeds.seed63(*key, name, r))
        for name, ids in zip(prompts.ids, encoder.encode_prompts(prompts), strict=True)
        for r in range(draws)
    ]
    found = []
    for one in complete(teacher, asked, sampling):
        finished, ids = one.finish_reason == "stop", tuple(one.token_ids or ())
        kept = ids[:-1] if finished else ids  # without the token that ended it
        found.append(Response(kept, encoder.decode(kept), finished))
    return found
