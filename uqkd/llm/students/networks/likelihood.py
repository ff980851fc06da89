"""Causal language models of the transformers library as students that can be stacked.

A student is wrapped so that it turns a row, token ids and which of them are supervised, into the log-likelihood of the
supervised tokens. Rows are padded on the right: with causal attention nothing that counts looks at the padding, so no
attention mask is needed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from uqkd.errors import OptionError
from uqkd.llm.students.networks.heads import Head, shared_head
from uqkd.stacked.layers.basic import StackedLayer
from uqkd.stacked.layers.norms import LEAVES

# Classes that scale by `weight` after dividing by the root mean square, in float32; those of other models (Gemma adds one
# to the weight) compute something else and are refused.
RMS_NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "Phi3RMSNorm", "OlmoRMSNorm")


class LlamaNorm(StackedLayer):
    """The root-mean-square norm of Llama and its relatives."""

    def read(self, source: Any) -> None:
        """Epsilon."""
        self.eps = source.variance_epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        return self.scaled((wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype))


class SequenceLikelihood(nn.Module):
    """Log-likelihood of the supervised tokens of a row: (B, 2, L) int to (B,).

    Row n is two lines: token ids, and 1 where a token is supervised. See `row_table`.

    Parameters
    ----------
    model : transformers PreTrainedModel
        A causal language model.

    Attributes
    ----------
    temperature : float
        Logits are divided by it; 1 in training.
    skip : int
        Tokens at the beginning of which no row supervises any: their logits, for each a whole vocabulary, are not computed
        where students have heads of their own.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.temperature, self.skip = model, 1.0, 0
        inner: Any = getattr(model, "get_base_model", lambda: model)()  # under adapters
        self._keeps = "logits_to_keep" in inspect.signature(inner.forward).parameters
        self._head = Head()
        self.below: Any = None  # set by `frozen_layers_cached`

    def forward(self, rows: Tensor) -> Tensor:
        """(B, 2, L) to (B,)."""
        rows = rows.long()  # tables of many rows are kept in half the width
        ids, supervised = rows.unbind(1)
        head = shared_head(self.model)
        # A head of each student's own takes as many tokens of each; so does a step that is traced once for all batches.
        if head is None or type(rows) is not Tensor or not supervised[:, 1:].any():
            return self._windowed(ids, supervised)
        prepared = None if self.below is None else self.below.prepare(self, rows)
        return self._packed(head, ids, supervised, prepared)

    def _packed(
        self, head: nn.Module, ids: Tensor, supervised: Tensor, above: Callable[[Callable[[], Any]], Any] | None
    ) -> Tensor:
        """Only what is supervised passes through the head, and no column beyond the last such token through the model."""
        width = 1 + int(supervised[:, 1:].any(0).nonzero().max())
        before, wanted, learnt = ids[:, :width], ids[:, 1 : width + 1], supervised[:, 1 : width + 1].bool()

        def run() -> Any:
            return self.run(before)

        if self._head.bare is None:
            training = self.training
            self.eval()  # dropout must not count this pass
            self._head.look(head, lambda: self.run(before[:, :2]))
            self.train(training)
        losses = self._head.losses(
            head, run if above is None else lambda: above(run),
            learnt=learnt, wanted=wanted[learnt], temperature=self.temperature,
        )  # fmt: skip
        return -losses.new_zeros(learnt.shape).masked_scatter(learnt, losses).sum(1)

    def _windowed(self, ids: Tensor, supervised: Tensor) -> Tensor:
        """All tokens from the first that any row supervises."""
        counted = slice(max(self.skip, 1), None)
        wanted = ids[:, counted]
        fewer = {"logits_to_keep": wanted.shape[1]} if self._keeps else {}
        logits = self.run(ids[:, :-1], **fewer).logits[:, -wanted.shape[1] :]
        if self.temperature != 1.0:
            logits = logits / self.temperature
        losses = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view(len(ids), -1)
        return -(losses * supervised[:, counted]).sum(1)

    def run(self, ids: Tensor, **options: Any) -> Any:
        """The model's own forward pass on (B, L) token ids."""
        places = torch.arange(ids.shape[1], device=ids.device).expand(len(ids), -1)
        return self.model(input_ids=ids, position_ids=places, use_cache=False, **options)


def row_table(rows: Sequence[tuple[Sequence[int], Sequence[bool]]], *, pad: int = 0) -> NDArray[np.int64]:
    """Token ids and supervised tokens of N rows as one array (N, 2, L), padded on the right.

    Examples
    --------
    >>> row_table([((5, 6), (False, True)), ((7,), (False,))])
    array([[[5, 6],
            [0, 1]],
    <BLANKLINE>
           [[7, 0],
            [0, 0]]])
    """
    table = np.zeros((len(rows), 2, max(len(ids) for ids, _ in rows)), dtype=np.int64)
    table[:, 0] = pad
    for n, (ids, supervised) in enumerate(rows):
        table[n, 0, : len(ids)], table[n, 1, : len(ids)] = ids, supervised
    return table


@contextmanager
def only_supervised(module: Any, table: NDArray[Any]) -> Iterator[None]:
    """Within, a `SequenceLikelihood` computes no logits before the first token that any row of the table supervises.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> module = SimpleNamespace(skip=0)
    >>> with only_supervised(module, row_table([((5, 6, 7), (False, True, True)), ((7, 8, 2), (False, False, True))])):
    ...     module.skip
    1
    """
    before, module.skip = module.skip, int(table[:, 1].any(axis=0).argmax())
    try:
        yield
    finally:
        module.skip = before


def know_leaves(model: nn.Module) -> None:
    """Teach stacking the norms of this model's family; refuse families that were not checked.

    Raises
    ------
    OptionError
        A norm with a formula that is not known.
    """
    for path, part in model.named_modules():
        kind = type(part)
        if kind.__name__.endswith("RMSNorm") and kind not in LEAVES:
            if kind.__name__ not in RMS_NORMS or not hasattr(part, "variance_epsilon"):
                raise OptionError(
                    f"cannot stack {path!r} of class {kind.__name__}: its formula was not checked. Known: "
                    f"{', '.join(RMS_NORMS)}; or train with engine='sequential'."
                )
            LEAVES[kind] = LlamaNorm


def weighted_loss(outputs: Tensor, weights: Tensor) -> Tensor:
    """Weighted negative log-likelihood, mean over rows.

    Parameters
    ----------
    outputs, weights : (S, B) float
        Log-likelihoods of rows, and their weights.

    Returns
    -------
    (S,) float

    Examples
    --------
    >>> weighted_loss(torch.tensor([[-3.0, -4.0]]), torch.tensor([[1.0, 0.5]]))
    tensor([2.5000])
    """
    return -(outputs * weights).mean(1)
