"""transformers in this process: no further engine; draws by NumPy from all 63 bits of each request's seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uqkd.errors import DataError, LibraryError, OptionError, WorkerError
from uqkd.llm.models.configuration import attention_for, saved_dtype
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.models.revision import base_of, check_model, is_adapter, whole_revision
from uqkd.llm.requests import Answers, Completion, Request, TeacherInfo
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.decoding.exactness import Exactness, exactness
from uqkd.llm.teachers.decoding.generating import PAD, generated
from uqkd.llm.teachers.decoding.processor import Chooser
from uqkd.llm.teachers.responding import Responding

_WINDOW = 4096  # requests taken at once and sorted by length
_CELLS = 2**23  # logits of one step held at once (32 MB in float32)
_PAIRS = 2**28  # bytes of what a batch keeps for pairs of tokens: its attention mask, or all weights of a layer
_CACHE_BYTES = 2**31  # keys and values of a batch on a CPU; on a GPU half of what is free
_ACTIVATIONS = 2**29  # bytes of the widest layer for all tokens of the prompts

Asked = list[tuple[int, Request]]


class TransformersTeacher(Responding):
    """A causal language model of transformers, of any family: its own `generate` runs it, each token is chosen here.

    Nothing of a model's generation_config is followed but the tokens that end a response.

    Parameters
    ----------
    name_or_path, dtype, device, chat
        See `open_teacher`.
    template_args : dict, optional
        Arguments of the chat template.
    batch : int, optional
        Requests decoded together, at most; as many as the memory holds if not given, 4,096 at most.

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
        batch: int | None = None,
    ) -> None:
        path = check_model(name_or_path)
        encoder = Encoder.of(path, chat=chat, template_args=template_args)
        if device == "cuda" and not torch.cuda.is_available():
            raise OptionError("device 'cuda' was asked for, but there is no GPU here; use device='cpu' or 'auto'.")
        where = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        model = load(path, dtype).to(where).eval()
        self._set(model, encoder, Path(name_or_path).name, whole_revision(path), batch)

    @classmethod
    def around(cls, model: Any, encoder: Encoder, *, batch: int | None = None) -> TransformersTeacher:
        """A model that is in memory already, such as a student, with PEFT adapters or without; it stays as it is.

        Parameters
        ----------
        model : PreTrainedModel or PeftModel
            On the device where it is to run.
        encoder : Encoder
            Of the model.
        batch : int, optional
            See the class.

        Examples
        --------
        >>> from transformers import GPT2Config, GPT2LMHeadModel
        >>> from uqkd.llm.synthetic.world import World
        >>> from uqkd.llm.synthetic.testbed import tokenizer
        >>> coder = tokenizer(World.make(groups=1, entities=1, key=("doc",)))
        >>> model = GPT2LMHeadModel(GPT2Config(vocab_size=len(coder), n_embd=4, n_layer=1, n_head=1))
        >>> teacher = TransformersTeacher.around(model, Encoder(coder, False))
        >>> place, answer = next(teacher.stream([Request((1, 5), seed=7)], Sampling(max_tokens=3)))
        >>> place, answer.finish_reason, model.training
        (0, 'length', True)
        """
        teacher, own = cls.__new__(cls), getattr(model, "get_base_model", lambda: model)()
        teacher._set(own, encoder, "in memory", "in memory", batch)
        teacher._exact = _measured(own)
        return teacher

    def _set(self, model: Any, encoder: Encoder, name: str, revision: str, batch: int | None) -> None:
        import transformers

        self.encoder, self._model, self._batch = encoder, model, batch or _WINDOW
        self._exact: Exactness | None = None
        version = f"{transformers.__version__}, torch {torch.__version__}"
        seen = str(model.dtype).removeprefix("torch.")
        self.about = TeacherInfo(name, revision, "transformers", version, seen, "processed", encoder.chat)

    def stream(self, requests: Iterable[Request], sampling: Sampling) -> Answers:
        """See `Teacher.stream`."""
        places = enumerate(requests)
        while window := list(islice(places, _WINDOW)):
            if self._model is None:
                raise WorkerError("the teacher is closed; open it again.")
            self._exact = self._exact or exactness(self._model, self.about.name)
            for batch in self._batches(window, sampling.max_tokens, pads=self._exact.pads):
                answers = self._answers([request for _, request in batch], sampling)
                yield from zip((place for place, _ in batch), answers, strict=True)

    def _batches(self, window: Asked, max_tokens: int, *, pads: bool) -> Iterator[Asked]:
        """Requests of similar length together: less padding. The order decides nothing but rounding."""
        # The longest first: what goes beyond the memory does so at once.
        window.sort(key=lambda one: (len(one[1].prompt_token_ids), one[1].prompt_token_ids), reverse=True)
        start = 0
        while start < len(window):
            longest = len(window[start][1].prompt_token_ids)
            batch = window[start : start + self._rows(longest, max_tokens)]
            if len(batch[-1][1].prompt_token_ids) < longest and not pads:
                batch = [one for one in batch if len(one[1].prompt_token_ids) == longest]
            start += len(batch)
            yield batch

    def rows_at_once(self, longest: int, max_tokens: int) -> int:
        """Requests that are decoded together, the longest prompt of so many tokens."""
        return self._rows(longest, max_tokens)

    def _rows(self, longest: int, max_tokens: int) -> int:
        """Rows of a batch: as many as fit the memory, at most `batch`."""
        config = self._model.config.get_text_config()
        size, gpu = self._model.dtype.itemsize, self._model.device.type == "cuda"
        free = torch.cuda.mem_get_info()[0] // 2 if gpu else _CACHE_BYTES
        eager = self._model.config._attn_implementation == "eager"
        pair = getattr(config, "num_attention_heads", 1) * size if eager else 1
        fitting = (
            _CELLS // config.vocab_size,
            _PAIRS // (pair * longest**2),
            free // (2 * _cached_numbers(config) * size * (longest + max_tokens)),
            _ACTIVATIONS // (_widest(config) * size * longest),
        )
        return max(1, min(self._batch, *fitting))

    def _answers(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """One batch."""
        chooser = Chooser(requests, sampling, self.encoder.stop_ids)
        try:
            self._generate(requests, chooser, sampling.max_tokens)
        except WorkerError:
            raise
        except Exception as problem:  # an architecture's own code may raise anything: one line for all
            line = (str(problem).splitlines() or [""])[0][:300]
            if isinstance(problem, torch.cuda.OutOfMemoryError) or "allocate memory" in line:
                where = "GPU memory" if self._model.device.type == "cuda" else "memory"
                raise WorkerError(
                    f"out of {where} with {len(requests)} requests at once; use a smaller batch ({line})."
                ) from problem
            raise WorkerError(f"the model failed while drawing ({type(problem).__name__}: {line}).") from problem
        return [Completion(ids, self.encoder.decode(ids), logs, reason) for ids, logs, reason in chooser.rows()]

    def _generate(self, requests: Sequence[Request], chooser: Chooser, max_tokens: int) -> None:
        """Run the model on a batch; `chooser` keeps what is drawn."""
        longest = max(len(request.prompt_token_ids) for request in requests)
        tokens = np.full((len(requests), longest), PAD)
        mask = np.zeros((len(requests), longest), dtype=np.int64)
        for row, request in enumerate(requests):
            length = len(request.prompt_token_ids)
            tokens[row, longest - length :] = request.prompt_token_ids
            mask[row, longest - length :] = 1
        ends = list(self.encoder.stop_ids)
        shared = self._exact is not None and self._exact.shares
        generated(
            self._model, tokens, mask, processors=[chooser], shared=shared, max_new_tokens=max_tokens, eos_token_id=ends
        )

    def close(self) -> None:
        """See `Teacher.close`."""
        self._model = None


_MEASURED: dict[tuple[type, str], Exactness] = {}


def _measured(model: Any) -> Exactness:
    """What a model in memory computes exactly: its code decides it and not its weights, so one of many students is measured."""
    kind = (type(model), str(model.config.to_json_string()))
    if kind not in _MEASURED:
        _MEASURED[kind] = exactness(model, type(model).__name__)
    return _MEASURED[kind]


def _widest(config: Any) -> int:
    """Numbers of the widest layer for each token."""
    named = (getattr(config, name, None) for name in ("intermediate_size", "ffn_dim", "n_inner"))
    return int(next((size for size in named if size), 4 * config.hidden_size))


def _cached_numbers(config: Any) -> int:
    """Numbers that a cache keeps for each token as keys (and as many as values), all layers; a recurrent model has fewer."""
    heads = getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", None) or 1
    size = getattr(config, "head_dim", None) or config.hidden_size // (
        getattr(config, "num_attention_heads", None) or 1
    )
    return int(config.num_hidden_layers * heads * size)


def load(path: Path, dtype: str) -> Any:
    """A model from its folder; an adapter merged into the model below it.

    Raises
    ------
    DataError
        It does not load as a causal language model.
    LibraryError
        An adapter, and PEFT is not installed.
    """
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
    batch: int | None = None,
) -> TransformersTeacher:
    """See `TransformersTeacher`."""
    return TransformersTeacher(
        name_or_path, dtype=dtype, device=device, chat=chat, template_args=template_args, batch=batch
    )
