"""Low-rank adapters on a frozen model: where they may sit, and where an adapter would be passed by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from uqkd import seeds
from uqkd.errors import LibraryError, OptionError, one_of

EVERY = "all-linear"
# transformers hands the bare weights of the other linear layers of these to the selective scan (of some always, of all where
# its kernels for GPUs are used): an adapter there would not be trained, or would act on one machine and not on another.
_OPEN = {"mamba": ("in_proj",), "mamba2": ("in_proj",), "falcon_mamba": ("in_proj",)}


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al. 2021), as PEFT makes them, on a frozen base.

    Attributes
    ----------
    rank : int
    alpha : float
        The update is scaled by alpha/rank.
    dropout : float
        Of the adapters' input.
    modules : str or tuple of str
        Names of the linear layers that get one; "all-linear" for all but the head (for Mamba: all that an adapter can act in).
    layers : int, optional
        Adapters sit in the last so many blocks; in all if not given. What lies below is the same for all students and steps, and
        computed once (see `frozen_layers_cached`).

    Examples
    --------
    >>> Lora(rank=0)
    Traceback (most recent call last):
    uqkd.errors.OptionError: Lora needs rank >= 1, alpha > 0 and 0 <= dropout < 1; got rank=0, alpha=16.0, dropout=0.0.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    modules: str | tuple[str, ...] = EVERY
    layers: int | None = None

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.alpha > 0 or not 0.0 <= self.dropout < 1.0:
            raise OptionError(
                f"Lora needs rank >= 1, alpha > 0 and 0 <= dropout < 1; got rank={self.rank}, alpha={self.alpha}, "
                f"dropout={self.dropout}."
            )
        if self.layers is not None and self.layers < 1:
            raise OptionError(
                f"layers of Lora must be a positive number of blocks, or None for all; got {self.layers}."
            )


def adapted(model: Any, lora: Lora) -> Any:
    """A transformers model under fresh adapters, its own parameters frozen.

    Raises
    ------
    OptionError
        A name that no linear layer has, or a layer in which an adapter cannot act.
    LibraryError
        PEFT is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise LibraryError("adapters need the library peft, which is not installed: pip install 'uqkd[llm]'.") from None
    modules = _modules(model, lora)
    alpha: Any = lora.alpha  # declared as a whole number; PEFT divides by the rank and takes fractions
    options = LoraConfig(
        r=lora.rank, lora_alpha=alpha, lora_dropout=lora.dropout, target_modules=modules, task_type="CAUSAL_LM",
        fan_in_fan_out=any(type(part).__name__ == "Conv1D" for part in model.modules()),  # GPT-2 keeps weights transposed
    )  # fmt: skip
    with seeds.torch_stream("llm", "template", shared=True):
        return get_peft_model(model, options)


def _modules(model: Any, lora: Lora) -> list[str] | str:
    """What PEFT is told; every name was looked up in the model."""
    family = str(getattr(model.config, "model_type", "unknown"))
    possible = _OPEN.get(family)
    asked = (lora.modules,) if isinstance(lora.modules, str) else lora.modules
    if asked == (EVERY,) and lora.layers is None:
        return EVERY if possible is None else list(possible)
    if asked == (EVERY,):
        asked = possible or tuple(sorted({path.rsplit(".", 1)[-1] for path in _linear(model)}))
    paths = list(_linear(model))
    names = sorted({path.rsplit(".", 1)[-1] for path in paths})
    for name in asked:
        if not any(path == name or path.endswith(f".{name}") for path in paths):
            one_of("modules of Lora", name, [EVERY, *names])
        if possible is not None and name.rsplit(".", 1)[-1] not in possible:
            raise OptionError(
                f"adapters cannot sit on {name!r} of {family!r}: its scan takes the bare weight and would pass them by; use "
                f"modules={possible!r}."
            )
    return list(asked) if lora.layers is None else _in_last_blocks(model, asked, lora.layers)


def _in_last_blocks(model: Any, asked: tuple[str, ...], count: int) -> list[str]:
    """Paths of the layers of these names in the last blocks of a model."""
    layers = int(model.config.get_text_config().num_hidden_layers)
    if count > layers:
        raise OptionError(f"layers={count} of Lora are more than the {layers} blocks of this model; give fewer.")
    rows = [path for path, part in model.named_modules() if isinstance(part, nn.ModuleList) and len(part) == layers]
    last = tuple(f"{path}.{n}." for path in rows[:1] for n in range(layers - count, layers))
    named = [path for path in _linear(model) if any(path == name or path.endswith(f".{name}") for name in asked)]
    found = [path for path in named if path.startswith(last)]
    if not found:
        raise OptionError(
            f"none of the layers {', '.join(asked)} lies in the last {count} blocks of {type(model).__name__}; leave layers out."
        )
    return found


def _linear(model: Any) -> Iterator[str]:
    """Paths of the linear layers but the head."""
    head = model.get_output_embeddings()
    for path, part in model.named_modules():
        if part is not head and (isinstance(part, nn.Linear) or type(part).__name__ == "Conv1D"):
            yield path
