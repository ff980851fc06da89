"""Families of models: which architectures an engine runs, told before it starts."""

from __future__ import annotations

from pathlib import Path

from uqkd.llm.models.configuration import configuration
from uqkd.llm.teachers.backends.vllm.library import not_served

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
    reason = not_served(architecture)
    return (
        f"vLLM here cannot run {path.name!r} ({architecture}): {reason}; use backend='transformers'." if reason else ""
    )
