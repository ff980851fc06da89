"""How students begin: from a configuration, from a trained model, near one, or with fresh adapters on a frozen one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from uqkd import seeds
from uqkd.errors import DataError, OptionError
from uqkd.llm.models.configuration import attention_for
from uqkd.llm.models.revision import base_of, check_model, is_adapter
from uqkd.llm.students.networks.adapters import Lora, adapted
from uqkd.llm.students.networks.likelihood import SequenceLikelihood

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Initializer:
    """Where S students begin; made by `Initializer.of`.

    Attributes
    ----------
    template : SequenceLikelihood
        One student; of the base under adapters there is no other copy.
    fresh : bool
        Every level is a new initialisation; otherwise students begin at the template's parameters.
    perturbation : float or None
        ε: trained parameters begin near one θ, the same for all levels, at θ + ε·|θ|·N(0, 1), drawn per level.
    lora : Lora or None
    folder : Path or None
        Of the saved model; None where a configuration was given.
    """

    template: SequenceLikelihood
    fresh: bool
    perturbation: float | None
    lora: Lora | None
    folder: Path | None = None

    @classmethod
    def of(
        cls, student: Any, *, fresh: bool = False, lora: Lora | None = None, perturbation: float | None = None
    ) -> Initializer:
        """Load or build one student.

        Parameters
        ----------
        student : path, name or transformers configuration
            A configuration always begins fresh.
        fresh : bool
            Use the architecture of a saved model and none of its parameters.
        lora : Lora, optional
        perturbation : float, optional
            ε >= 0; None for students that begin as their levels say.

        Raises
        ------
        OptionError
            Options that contradict each other; an unsafe model.
        DataError
            A model that does not load.
        """
        from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

        if perturbation is not None and not perturbation >= 0:
            raise OptionError(f"perturbation must be None or a number >= 0; got {perturbation}.")
        config = student if isinstance(student, PretrainedConfig) else None
        path: Path | None = None
        if lora is not None and (fresh or config is not None):
            raise OptionError("adapters need a trained base; give a model's folder and leave fresh out.")
        if config is None:
            path = check_model(student)
            if fresh:
                config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        if config is not None:
            with seeds.torch_stream("llm", "template", shared=True):  # its parameters mean nothing
                model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        else:
            assert path is not None
            model = _loaded(path)
        whole = model if lora is None else adapted(model, lora)
        return cls(SequenceLikelihood(whole), config is not None, perturbation, lora, path)

    def parameters(self, level: int, *, key: tuple[Any, ...], adapter: int, shared: bool = False) -> Parameters:
        """Trained parameters of the student of these levels, by name.

        Parameters
        ----------
        level : int
            Of the initialisation, or of the perturbation.
        key : tuple
        adapter : int
            Level of the adapters' own initialisation.
        shared : bool
            The levels recur on purpose.
        """
        if self.lora is not None:
            return dict(self._near(self._adapters(key, adapter, shared), level, key, shared))
        if self.fresh:
            from transformers import AutoModelForCausalLM

            near = self.perturbation is not None
            begin = "common" if near else level
            with seeds.torch_stream(*key, "initialisation", begin, shared=shared or near):
                model = AutoModelForCausalLM.from_config(self.template.model.config, dtype=torch.float32)
            return dict(self._near(_trained(SequenceLikelihood(model)), level, key, shared))
        return dict(self._near(_trained(self.template), level, key, shared))

    @torch.no_grad()
    def begin(self, level: int, *, key: tuple[Any, ...], adapter: int, shared: bool = False) -> SequenceLikelihood:
        """The template itself at the initial parameters of these levels, to be trained in place; see `parameters`.

        A saved model is read again: the template may hold what a student before was trained to.
        """
        if self.lora is None and not self.fresh:
            assert self.folder is not None
            self._put(_trained(SequenceLikelihood(_loaded(self.folder))))
        self._put(self.parameters(level, key=key, adapter=adapter, shared=shared))
        return self.template

    def _put(self, parameters: Parameters) -> None:
        held = dict(self.template.named_parameters())
        for name, value in parameters.items():
            if held[name] is not value:
                held[name].copy_(value)

    def _near(
        self, parameters: Parameters, level: int, key: tuple[Any, ...], shared: bool
    ) -> Iterator[tuple[str, Tensor]]:
        if not self.perturbation:
            yield from parameters.items()
            return
        epsilon, noise = self.perturbation, seeds.generator(*key, "perturbation", level, shared=shared)
        for name, value in parameters.items():
            drawn = torch.from_numpy(noise.standard_normal(tuple(value.shape))).to(value)
            yield name, value + epsilon * value.abs() * drawn

    def _adapters(self, key: tuple[Any, ...], level: int, shared: bool) -> Parameters:
        from peft.tuners.lora import LoraLayer

        with seeds.torch_stream(*key, "adapter", level, shared=shared or self.perturbation is not None):
            for part in self.template.modules():
                if isinstance(part, LoraLayer):
                    part.reset_lora_parameters("default", init_lora_weights=True)
        return {name: value.clone() for name, value in _trained(self.template).items()}

    def alone(self, parameters: Parameters) -> SequenceLikelihood:
        """One student as a module of its own, with these trained parameters; a frozen base is shared."""
        frozen = {id(p): p for p in self.template.parameters() if not p.requires_grad}
        student = copy.deepcopy(self.template, frozen)
        held = dict(student.named_parameters())
        with torch.no_grad():
            for name, value in parameters.items():
                held[name].copy_(value)
        return student


def saved(path: Path) -> Any:
    """A saved student: a whole model, or an adapter on its base."""
    if not is_adapter(path):
        return _loaded(path)
    from peft import PeftModel

    return PeftModel.from_pretrained(_loaded(check_model(base_of(path))), path)


def _trained(module: nn.Module) -> Parameters:
    return {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}


def _loaded(path: Path) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, **attention_for(path)
        )
    except Exception as problem:  # transformers raises many kinds: one line for all
        line = (str(problem).splitlines() or [""])[0]
        raise DataError(f"{path.name!r} does not load as a causal language model: {line[:200]}") from problem
