"""What an engine can do with an adapter (PEFT): put it on a model that runs, or only run a model that it was merged into."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors import safe_open

from uqkd.llm.models.configuration import configuration

# Architectures that vLLM runs with adapters on (each compared with the merged model in
# tests/llm/teachers/backends/test_adapters.py), and the layers that it puts them on; of the others adapters are merged.
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_GATED = (*_ATTENTION, "gate_proj", "up_proj", "down_proj")
LAYERS: dict[str, tuple[str, ...]] = {
    "LlamaForCausalLM": _GATED,
    "MistralForCausalLM": _GATED,
    "Qwen2ForCausalLM": _GATED,
    "Qwen3ForCausalLM": _GATED,
    "Gemma2ForCausalLM": _GATED,
    "Gemma3ForCausalLM": _GATED,
    "Phi3ForCausalLM": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
    "SmolLM3ForCausalLM": _GATED,
    "Olmo2ForCausalLM": _GATED,
    "GPTNeoXForCausalLM": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
    "OPTForCausalLM": ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
}
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM makes room for
# What changes an adapter beyond x A' B' and must be neutral, with its neutral value.
_NEUTRAL: dict[str, Any] = {
    "use_dora": False, "lora_bias": False, "bias": "none", "modules_to_save": None, "layer_replication": None,
    "alora_invocation_tokens": None, "use_qalora": False, "use_bdlora": None, "target_parameters": None,
    "trainable_token_indices": None,
}  # fmt: skip
_LAYER = re.compile(r"\.([^.]+)\.lora_[AB]\.weight$")


def rank_of(path: Path) -> int:
    """The largest rank in an adapter's folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = Path(place, "adapter_config.json").write_text('{"r": 8, "rank_pattern": {"q_proj": 12}}')
    ...     rank_of(Path(place))
    12
    """
    config = _config(path)
    return max(int(config.get("r") or 0), *map(int, (config.get("rank_pattern") or {0: 0}).values()))


def not_put_on(path: Path, base: Path) -> str:
    """Why vLLM cannot put an adapter on its model while that runs; empty if it can. No engine is started.

    Parameters
    ----------
    path, base : Path
        Folders of the adapter and of the model below it.
    """
    config = _config(path)
    architecture = str((configuration(base).get("architectures") or ["unknown"])[0])
    if architecture not in LAYERS:
        return f"{architecture} takes none"
    if config.get("peft_type") != "LORA":
        return f"it is no LoRA ({config.get('peft_type')})"
    for name, neutral in _NEUTRAL.items():
        if (config.get(name) or neutral) != neutral:
            return f"it has {name}={config[name]!r}"
    if isinstance(config.get("init_lora_weights"), str) and config["init_lora_weights"] != "gaussian":
        return f"it begins with a change of the model (init_lora_weights={config['init_lora_weights']!r})"
    if rank_of(path) > RANKS[-1]:
        return f"its rank of {rank_of(path)} is above {RANKS[-1]}"
    with safe_open(path / "adapter_model.safetensors", framework="numpy") as tensors:
        layers = {(found[1] if (found := _LAYER.search(name)) else name) for name in tensors.keys()}  # noqa: SIM118
    others = sorted(layers.difference(LAYERS[architecture]))
    return f"it changes {others[0]!r}" if others else ""


def _config(path: Path) -> dict[str, Any]:
    return json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]
