"""transformers in this process: no further engine; draws by NumPy from all 63 bits of each request's seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uqkd import seeds
from uqkd.errors import DataError, LibraryError, OptionError, WorkerError
from uqkd.llm.encoding import Encoder, saved_dtype
from uqkd.llm.revision import base_of, check_model, is_adapter, model_revision
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.teacher import Completion, Request, TeacherInfo

_CELLS = 2**23  # logits of one step held at once (64 MB in float64)


class TransformersTeacher:
    """A causal language model of transformers, sampled token by token with a cache.

    Parameters
    ----------
    name_or_path, dtype, device, chat
        See `open_teacher`.
    batch : int
        Requests decoded together; fewer where the vocabulary is large.

    Raises
    ------
    OptionError
        No GPU where one was asked for.
    DataError
        A model that does not load as a causal language model.
    """

    def __init__(
        self, name_or_path: str | Path, *, dtype: str, device: str, chat: bool | None = None, batch: int = 256
    ) -> None:
        import transformers

        path = check_model(name_or_path)
        self.encoder = Encoder.of(path, chat=chat)
        if device == "cuda" and not torch.cuda.is_available():
            raise OptionError("device 'cuda' was asked for, but there is no GPU here; use device='cpu' or 'auto'.")
        self._device = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        self._model: Any = _loaded(path, dtype).to(self._device).eval()
        self._batch = batch
        revision = model_revision(path)
        if is_adapter(path):
            revision = f"{revision}+{model_revision(check_model(base_of(path)))}"
        version = f"{transformers.__version__}, torch {torch.__version__}"
        seen = str(next(self._model.parameters()).dtype).removeprefix("torch.")
        self.about = TeacherInfo(
            Path(name_or_path).name, revision, "transformers", version, seen, "processed", self.encoder.chat
        )

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """See `Teacher.complete`."""
        if self._model is None:
            raise WorkerError("the teacher is closed; open it again.")
        done: list[Completion | None] = [None] * len(requests)
        rows = max(1, min(self._batch, _CELLS // max(1, self._model.config.get_text_config().vocab_size)))
        # Prompts of similar length together: less padding. The order decides nothing but rounding.
        order = sorted(range(len(requests)), key=lambda place: len(requests[place].prompt_token_ids))
        for start in range(0, len(order), rows):
            places = order[start : start + rows]
            try:
                drawn = self._draw([requests[place] for place in places], sampling)
            except torch.cuda.OutOfMemoryError as problem:
                raise WorkerError(
                    f"out of GPU memory with {len(places)} requests at once; use a smaller batch ({problem})."
                ) from problem
            for place, completion in zip(places, drawn, strict=True):
                done[place] = completion
        return [completion for completion in done if completion is not None]

    def _draw(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        uniform = np.stack([seeds.drawn_from(request.seed).random(sampling.max_tokens) for request in requests])
        ids = np.zeros((len(requests), 0), dtype=np.int64)
        logs = np.zeros((len(requests), 0))
        ended = np.full(len(requests), -1)
        stops = np.array(self.encoder.stop_ids)
        seen = _Seen(requests, sampling)
        for step, logits in enumerate(self._steps(requests, ids)):
            chosen, log_probability = choose(seen.penalised(logits), uniform[:, step], sampling)
            seen.add(chosen)
            ids, logs = np.column_stack([ids, chosen]), np.column_stack([logs, log_probability])
            ended[(ended < 0) & np.isin(chosen, stops)] = step
            if (ended >= 0).all() or step + 1 == sampling.max_tokens:
                break
            self._next = chosen
        lengths = np.where(ended >= 0, ended + 1, ids.shape[1])
        return [
            Completion(
                tuple(map(int, row[:n])), self.encoder.decode(row[:n].tolist()), tuple(map(float, log[:n])),
                "stop" if end >= 0 else "length",
            )
            for row, log, n, end in zip(ids, logs, lengths, ended, strict=True)
        ]  # fmt: skip

    @torch.inference_mode()
    def _steps(self, requests: Sequence[Request], _ids: Any) -> Iterator[np.ndarray]:
        """Logits of the next token, step after step; what was chosen comes back in `self._next`."""
        longest = max(len(request.prompt_token_ids) for request in requests)
        tokens = np.zeros((len(requests), longest), dtype=np.int64)
        mask = np.zeros((len(requests), longest), dtype=np.int64)
        for row, request in enumerate(requests):
            length = len(request.prompt_token_ids)
            tokens[row, longest - length :] = request.prompt_token_ids
            mask[row, longest - length :] = 1
        attention = torch.as_tensor(mask, device=self._device)
        positions = (attention.cumsum(1) - 1).clamp(min=0)
        inputs, cache = torch.as_tensor(tokens, device=self._device), None
        while True:
            result = self._model(
                input_ids=inputs, attention_mask=attention, position_ids=positions, past_key_values=cache, use_cache=True,
                logits_to_keep=1,
            )  # fmt: skip
            cache = result.past_key_values
            yield result.logits[:, -1].double().cpu().numpy()
            inputs = torch.as_tensor(self._next, device=self._device)[:, None]
            attention = torch.cat([attention, attention.new_ones(len(requests), 1)], dim=1)
            positions = positions[:, -1:] + 1

    def close(self) -> None:
        """See `Teacher.close`."""
        self._model = None


class _Seen:
    """Which tokens each request has seen, for the repetition penalty; nothing is kept where there is none."""

    def __init__(self, requests: Sequence[Request], sampling: Sampling) -> None:
        self._penalty = sampling.repetition_penalty
        self._tokens = [set(request.prompt_token_ids) for request in requests] if self._penalty != 1.0 else []

    def add(self, chosen: np.ndarray) -> None:
        for tokens, token in zip(self._tokens, chosen.tolist(), strict=False):
            tokens.add(token)

    def penalised(self, logits: np.ndarray) -> np.ndarray:
        for row, tokens in zip(logits, self._tokens, strict=False):
            places = np.fromiter(tokens, dtype=np.int64)
            row[places] = np.where(row[places] > 0, row[places] / self._penalty, row[places] * self._penalty)
        return logits


def choose(logits: np.ndarray, uniform: np.ndarray, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """Next tokens by inversion, and the logarithms of their probabilities after temperature and cuts.

    Parameters
    ----------
    logits : (n, V) float64
    uniform : (n,) float
        In [0, 1).
    sampling : Sampling

    Examples
    --------
    >>> logits = np.log([[0.5, 0.25, 0.25]])
    >>> tokens, logs = choose(logits, np.array([0.6]), Sampling())
    >>> int(tokens[0]), float(np.exp(logs[0]).round(3))
    (1, 0.25)
    >>> tokens, logs = choose(logits, np.array([0.6]), Sampling(top_k=1))
    >>> int(tokens[0]), float(np.exp(logs[0]))
    (0, 1.0)
    """
    if sampling.temperature == 0:
        chosen = logits.argmax(axis=1)
        return chosen, np.zeros(len(chosen))
    scaled = (logits - logits.max(axis=1, keepdims=True)) / sampling.temperature
    kept = np.exp(scaled)
    kept /= kept.sum(axis=1, keepdims=True)
    kept = _cut(kept, sampling)
    edges = np.cumsum(kept, axis=1)
    # The last edge takes the rounding: a uniform number below one always lies below it. A token that was cut has no width.
    chosen = (edges <= (uniform * edges[:, -1])[:, None]).sum(axis=1)
    row = np.arange(len(kept))
    return chosen, np.log(kept[row, chosen] / edges[:, -1])


def _cut(probabilities: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Set to zero what top-k, top-p and min-p drop, in vLLM's order: min-p, then top-k, then top-p of what is left."""
    kept = probabilities
    if sampling.min_p > 0:
        kept = np.where(kept >= sampling.min_p * kept.max(axis=1, keepdims=True), kept, 0.0)
    if 0 < sampling.top_k < kept.shape[1]:
        least = np.partition(kept, -sampling.top_k, axis=1)[:, -sampling.top_k, None]
        kept = np.where(kept >= least, kept, 0.0)
    if sampling.top_p < 1.0:
        order = np.argsort(-kept, axis=1, kind="stable")
        ranked = np.take_along_axis(kept, order, axis=1)
        ranked /= ranked.sum(axis=1, keepdims=True)
        before = np.cumsum(ranked, axis=1) - ranked
        dropped = np.zeros(kept.shape, dtype=bool)
        np.put_along_axis(dropped, order, before >= sampling.top_p, axis=1)
        kept = np.where(dropped, 0.0, kept)
    return kept


def _loaded(path: Path, dtype: str) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    base = check_model(base_of(path)) if is_adapter(path) else path
    dtype = saved_dtype(base) if dtype == "auto" else dtype
    try:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, use_safetensors=True, trust_remote_code=False)
    except Exception as problem:  # transformers raises many kinds: one line for all
        line = (str(problem).splitlines() or [""])[0]
        raise DataError(f"{path.name!r} does not load as a causal language model: {line[:200]}") from problem
    if base is path:
        return model
    try:
        from peft import PeftModel
    except ImportError:
        raise LibraryError("an adapter needs the library peft, which is not installed: pip install peft.") from None
    return PeftModel.from_pretrained(model, path).merge_and_unload()
