"""transformers in this process: no further engine; draws by NumPy from all 63 bits of each request's seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uqkd import seeds
from uqkd.errors import DataError, LibraryError, OptionError, WorkerError
from uqkd.llm.configuration import attention_for, saved_dtype
from uqkd.llm.encoding import Encoder
from uqkd.llm.revision import base_of, check_model, is_adapter, model_revision
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.choosing import Penalty, choose
from uqkd.llm.teachers.generating import PAD, generated, neutral, pads_exactly, refuse_inexact
from uqkd.llm.teachers.teacher import Answers, Completion, Request, TeacherInfo

_WINDOW = 4096  # requests taken at once and sorted by length
_CELLS = 2**23  # logits of one step held at once (64 MB in float64)
_PAIRS = 2**28  # bytes of what a batch keeps for pairs of tokens: its attention mask, or all weights of a layer
_CACHE_BYTES = 2**31  # keys and values of a batch on a CPU; on a GPU half of what is free

Asked = list[tuple[int, Request]]


class TransformersTeacher:
    """A causal language model of transformers, of any family: its own `generate` runs it, each token is chosen here.

    Nothing of a model's generation_config is followed but the tokens that end a response.

    Parameters
    ----------
    name_or_path, dtype, device, chat
        See `open_teacher`.
    template_args : dict, optional
        Arguments of the chat template.
    batch : int
        Requests decoded together; fewer where vocabulary, prompts or responses are large.

    Raises
    ------
    OptionError
        No GPU where one was asked for.
    DataError
        A model that does not load as a causal language model.
    """

    def __init__(
        self,
        name_or_path: str | Path,
        *,
        dtype: str,
        device: str,
        chat: bool | None = None,
        template_args: Mapping[str, Any] | None = None,
        batch: int = 256,
    ) -> None:
        import transformers

        path = check_model(name_or_path)
        self.encoder = Encoder.of(path, chat=chat, template_args=template_args)
        if device == "cuda" and not torch.cuda.is_available():
            raise OptionError("device 'cuda' was asked for, but there is no GPU here; use device='cpu' or 'auto'.")
        self._device = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        self._model: Any = neutral(_loaded(path, dtype).to(self._device).eval())
        self._batch, self._checked = batch, False
        revision = model_revision(path)
        if is_adapter(path):
            revision = f"{revision}+{model_revision(check_model(base_of(path)))}"
        version = f"{transformers.__version__}, torch {torch.__version__}"
        seen = str(self._model.dtype).removeprefix("torch.")
        self.about = TeacherInfo(
            Path(name_or_path).name, revision, "transformers", version, seen, "processed", self.encoder.chat
        )

    def stream(self, requests: Iterable[Request], sampling: Sampling) -> Answers:
        """See `Teacher.stream`."""
        places = enumerate(requests)
        while window := list(islice(places, _WINDOW)):
            if self._model is None:
                raise WorkerError("the teacher is closed; open it again.")
            if not self._checked:
                refuse_inexact(self._model, self.about.name)
                self._checked = True
            for batch in self._batches(window, sampling.max_tokens):
                answers = self._answers([request for _, request in batch], sampling)
                yield from zip((place for place, _ in batch), answers, strict=True)

    def _batches(self, window: Asked, max_tokens: int) -> Iterator[Asked]:
        """Requests of similar length together: less padding. The order decides nothing but rounding."""
        # The longest first: what goes beyond the memory does so at once.
        window.sort(key=lambda one: len(one[1].prompt_token_ids), reverse=True)
        start = 0
        while start < len(window):
            longest = len(window[start][1].prompt_token_ids)
            batch = window[start : start + self._rows(longest, max_tokens)]
            if len(batch[-1][1].prompt_token_ids) < longest and not self._pads_exactly:
                batch = [one for one in batch if len(one[1].prompt_token_ids) == longest]
            start += len(batch)
            yield batch

    def _rows(self, longest: int, max_tokens: int) -> int:
        """Rows of a batch: as many as fit the memory, at most `batch`."""
        config = self._model.config.get_text_config()
        free = torch.cuda.mem_get_info()[0] // 2 if self._device == "cuda" else _CACHE_BYTES
        token = 2 * _cached_numbers(config) * self._model.dtype.itemsize
        eager = self._model.config._attn_implementation == "eager"
        pair = getattr(config, "num_attention_heads", 1) * self._model.dtype.itemsize if eager else 1
        fitting = (_CELLS // config.vocab_size, _PAIRS // (pair * longest**2), free // (token * (longest + max_tokens)))
        return max(1, min(self._batch, *fitting))

    @cached_property
    def _pads_exactly(self) -> bool:
        return pads_exactly(self._model)

    def _answers(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """One batch."""
        chooser = _Chooser(requests, sampling, self.encoder.stop_ids)
        try:
            self._generate(requests, chooser, sampling.max_tokens)
        except WorkerError:
            raise
        except Exception as problem:  # an architecture's own code may raise anything: one line for all
            line = (str(problem).splitlines() or [""])[0][:300]
            if isinstance(problem, torch.cuda.OutOfMemoryError) or "allocate memory" in line:
                where = "GPU memory" if self._device == "cuda" else "memory"
                raise WorkerError(
                    f"out of {where} with {len(requests)} requests at once; use a smaller batch ({line})."
                ) from problem
            raise WorkerError(f"the model failed while drawing ({type(problem).__name__}: {line}).") from problem
        return [Completion(ids, self.encoder.decode(ids), logs, reason) for ids, logs, reason in chooser.rows()]

    def _generate(self, requests: Sequence[Request], chooser: _Chooser, max_tokens: int) -> None:
        """Run the model on a batch; `chooser` keeps what is drawn."""
        longest = max(len(request.prompt_token_ids) for request in requests)
        tokens = np.full((len(requests), longest), PAD)
        mask = np.zeros((len(requests), longest), dtype=np.int64)
        for row, request in enumerate(requests):
            length = len(request.prompt_token_ids)
            tokens[row, longest - length :] = request.prompt_token_ids
            mask[row, longest - length :] = 1
        ends = list(self.encoder.stop_ids)
        generated(self._model, tokens, mask, processors=[chooser], max_new_tokens=max_tokens, eos_token_id=ends)

    def close(self) -> None:
        """See `Teacher.close`."""
        self._model = None


class _Chooser:
    """A logits processor that draws each row's next token from the row's own uniform numbers and leaves generate no other."""

    def __init__(self, requests: Sequence[Request], sampling: Sampling, stop_ids: Sequence[int]) -> None:
        uniform = [seeds.drawn_from(request.seed).random(sampling.max_tokens) for request in requests]
        self._uniform, self._sampling, self._stops = np.stack(uniform), sampling, np.array(stop_ids)
        self._penalty = Penalty(requests, sampling)
        self._ids = np.zeros(self._uniform.shape, dtype=np.int64)
        self._logs = np.zeros(self._uniform.shape)
        self._lengths = np.zeros(len(requests), dtype=np.int64)
        self._open = np.arange(len(requests))  # rows that have not ended
        self._step = 0

    def __call__(self, _input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        rows = self._open
        if not len(rows) or self._step == self._uniform.shape[1]:
            return scores
        own = scores if len(rows) == len(scores) else scores[torch.as_tensor(rows, device=scores.device)]
        logits = own.to("cpu", torch.float64).numpy()
        if not np.isfinite(logits.max(axis=1)).all():
            raise WorkerError(
                "the model's probabilities are not finite (an overflow of its number type, or broken weights); try dtype='float32'."
            )
        chosen, logs = choose(self._penalty.applied(rows, logits), self._uniform[rows, self._step], self._sampling)
        self._penalty.see(rows, chosen)
        self._ids[rows, self._step], self._logs[rows, self._step] = chosen, logs
        self._step += 1
        self._lengths[rows] = self._step
        self._open = rows[~np.isin(chosen, self._stops)]
        scores[torch.as_tensor(rows, device=scores.device), torch.as_tensor(chosen, device=scores.device)] = torch.inf
        return scores

    def rows(self) -> Iterator[tuple[tuple[int, ...], tuple[float, ...], str]]:
        """Token ids, logarithms of their probabilities and what ended them, row by row."""
        going = set(self._open.tolist())
        for row, length in enumerate(self._lengths.tolist()):
            reason = "length" if row in going else "stop"
            yield tuple(self._ids[row, :length].tolist()), tuple(self._logs[row, :length].tolist()), reason


def _cached_numbers(config: Any) -> int:
    """Numbers that a cache keeps for each token as keys (and as many as values), all layers; a recurrent model has fewer."""
    heads = getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", None) or 1
    size = getattr(config, "head_dim", None) or config.hidden_size // (
        getattr(config, "num_attention_heads", None) or 1
    )
    return int(config.num_hidden_layers * heads * size)


def _loaded(path: Path, dtype: str) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    base = check_model(base_of(path)) if is_adapter(path) else path
    dtype = saved_dtype(base) if dtype == "auto" else dtype
    try:
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype=dtype, use_safetensors=True, trust_remote_code=False, **attention_for(base)
        )
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


def open_backend(
    name_or_path: str | Path,
    *,
    dtype: str,
    device: str,
    chat: bool | None = None,
    template_args: Mapping[str, Any] | None = None,
    batch: int = 256,
) -> TransformersTeacher:
    """See `TransformersTeacher`."""
    return TransformersTeacher(
        name_or_path, dtype=dtype, device=device, chat=chat, template_args=template_args, batch=batch
    )
