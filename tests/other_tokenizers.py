"""Tokenizers of other kinds than the teacher's, trained on a few texts on the spot, and a GPT-2 that has one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

END = "<|endoftext|>"


def byte_bpe(texts: Sequence[str], size: int):
    """As GPT-2's: every text survives; BOS, EOS and the unknown token are one."""
    from tokenizers import decoders, models, pre_tokenizers, trainers

    core = _trained(
        models.BPE(), texts, pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel(),
        trainers.BpeTrainer(
            vocab_size=size, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
            min_frequency=1,
        ),
    )  # fmt: skip
    return _wrapped(core, bos_token=END, eos_token=END, unk_token=END)


def unigram(texts: Sequence[str], size: int):
    """As SentencePiece's: a space before every text, which decoding takes away, be it the text's own."""
    from tokenizers import decoders, models, pre_tokenizers, trainers

    core = _trained(
        models.Unigram(), texts, pre_tokenizers.Metaspace(prepend_scheme="first"), decoders.Metaspace(prepend_scheme="first"),
        trainers.UnigramTrainer(vocab_size=size, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False),
    )  # fmt: skip
    return _wrapped(core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def wordpiece(texts: Sequence[str], size: int):
    """As BERT's: lower case, no accents, spaces lost; it writes [CLS] and [SEP] around every plain text."""
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[END]"]
    core = _trained(
        models.WordPiece(unk_token="[UNK]"), texts, pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(cleanup=False),
        trainers.WordPieceTrainer(vocab_size=size, special_tokens=names, show_progress=False),
    )  # fmt: skip
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return _wrapped(
        core, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", eos_token="[END]",
        clean_up_tokenization_spaces=True,
    )  # fmt: skip


def save_gpt2(path: Path, tokenizer, **sizes: object) -> Path:
    """A tiny GPT-2 of random weights that has this tokenizer; returns the folder."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from uqkd import seeds

    own = {"vocab_size": len(tokenizer), "n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 256}
    quiet = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    with seeds.torch_stream("tests", "gpt-2", shared=True):
        GPT2LMHeadModel(GPT2Config(**{**own, **quiet, **ends, **sizes})).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def _trained(model, texts, before, after, trainer):
    from tokenizers import Tokenizer

    core = Tokenizer(model)
    core.pre_tokenizer, core.decoder = before, after
    core.train_from_iterator(list(texts), trainer)
    return core


def _wrapped(core, **names):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=core, **names)
