"""Families of models: which architectures an engine runs, told before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from uqkd.llm.models.configuration import configuration

# Architectures that vLLM runs on a CPU and on a GPU (docs/families.md: each was drawn from); of others vLLM is asked.
SERVED = frozenset({
    "FalconForCausalLM", "GPT2LMHeadModel", "GPTNeoXForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM", "LlamaForCausalLM",
    "Mamba2ForCausalLM", "MistralForCausalLM", "OPTForCausalLM", "Olmo2ForCausalLM", "Phi3ForCausalLM", "Qwen2ForCausalLM",
    "Qwen3ForCausalLM", "SmolLM3ForCausalLM",
})  # fmt: skip


def unsupported_by_vllm(path: Path) -> str:
    """One line that says why vLLM cannot sample a model here and what can; empty if it can. No engine is started.

    Parameters
    ----------
    path : Path
        A model's folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = Path(place, "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    ...     unsupported_by_vllm(Path(place))
    ''
    """
    architecture = str((configuration(path).get("architectures") or ["unknown"])[0])
    if architecture in SERVED:
        return ""
    from uqkd.llm.teachers.backends.vllm.library import not_served

    reason = not_served(architecture)
    return (
        f"vLLM here cannot run {path.name!r} ({architecture}): {reason}; use backend='transformers'." if reason else ""
    )


@contextmanager
def class_kept(path: Path) -> Iterator[None]:
    """Inside the block transformers' own class of a model may be changed for the whole process; afterwards it is as before.

    vLLM runs families that it has no code for (SmolLM3, OLMo 2, GPT-NeoX) by transformers' class, which it gives another
    `__init__` and another base: without this no such model could be loaded by transformers any more, as students are.

    Examples
    --------
    >>> import tempfile
    >>> from transformers import GPTNeoXModel
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = Path(place, "config.json").write_text('{"model_type": "gpt_neox"}')
    ...     with class_kept(Path(place)):
    ...         GPTNeoXModel.forward = None
    >>> GPTNeoXModel.forward is None
    False
    """
    from transformers import MODEL_MAPPING, AutoConfig

    config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    kinds: list[Any] = [
        MODEL_MAPPING[type(one)] for one in (config, config.get_text_config()) if type(one) in MODEL_MAPPING
    ]
    before = [(kind, kind.__bases__, dict(vars(kind))) for kind in kinds]
    try:
        yield
    finally:
        for kind, bases, own in before:
            kind.__bases__ = bases
            for name, value in list(vars(kind).items()):
                if name not in own:
                    delattr(kind, name)
                elif value is not own[name]:
                    setattr(kind, name, own[name])
