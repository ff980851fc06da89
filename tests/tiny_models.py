"""Tiny models made on the spot, so that no test needs a network."""

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "rome", "paris", "milan", "is", "p0", "capital"]


def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=32,
    )


def config(**more):
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        initializer_range=0.5,
        **more,
    )


def save_nli(folder, behaviour):
    """A classifier of three labels: random, or so biased that it always or never says "entailment"."""
    import torch
    from transformers import BertForSequenceClassification

    from uqkd import seeds

    names = (
        ["CONTRADICTION", "entailment", "neutral"] if behaviour != "unlabelled" else ["LABEL_0", "LABEL_1", "LABEL_2"]
    )
    with seeds.torch_stream("test", "tiny nli", 9, shared=True):
        model = BertForSequenceClassification(config(num_labels=3, id2label=dict(enumerate(names))))
    if behaviour in ("always", "never"):
        with torch.no_grad():
            model.classifier.weight.zero_()
            model.classifier.bias.copy_(torch.tensor([0.0, 1.0 if behaviour == "always" else -1.0, 0.5]))
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)


def save_sentence_model(folder):
    """A sentence-transformers folder: random weights, mean pooling."""
    from sentence_transformers import SentenceTransformer
    from transformers import BertModel

    from uqkd import seeds

    try:
        from sentence_transformers.models import Pooling, Transformer
    except ImportError:
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    with seeds.torch_stream("test", "tiny sentence model", shared=True):
        BertModel(config()).save_pretrained(folder / "plain")
    tokenizer().save_pretrained(folder / "plain")
    word = Transformer(str(folder / "plain"))
    SentenceTransformer(modules=[word, Pooling(16, pooling_mode="mean")], device="cpu").save(str(folder / "sentence"))
    return folder / "sentence"
