"""Parallel phrases and small models that translate, made when a test needs them."""

import torch

from kdmm.data import Sample, Source, TrainedTokens
from kdmm.models import Seq2Seq

PAIRS = (
    ("der hund", "the dog"),
    ("die katze", "the cat"),
    ("der hund schläft", "the dog sleeps"),
    ("die katze läuft heim", "the cat runs home"),
    ("heim", "home"),
    ("ein kleiner hund und eine katze", "a small dog and a cat"),
)
KINDS = ("Marian", "Bart", "T5")


class Phrases(Source):
    """Pairs of a source text and its translation, all for training.

    Args:
        pairs: the pairs; those of this file when left out.
    """

    def __init__(self, pairs=PAIRS):
        self.pairs = pairs

    splits = ("train",)

    def read(self, split):
        return [
            Sample(id=f"p{n}", source=source, captions=(text,), origin=f"pair {n}")
            for n, (source, text) in enumerate(self.pairs)
        ]


def tokens(side="both", vocab_size=270, context_length=24):
    return TrainedTokens(Phrases(), vocab_size, side, context_length)


def config(kind, width=16, **changes):
    import transformers

    if kind == "T5":
        sizes = {"d_kv": width // 2, "d_ff": 2 * width, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 2}
    else:
        sizes = {"encoder_layers": 2, "decoder_layers": 1, "max_position_embeddings": 32}
        for side in ("encoder", "decoder"):
            sizes |= {f"{side}_attention_heads": 2, f"{side}_ffn_dim": 2 * width}
    return getattr(transformers, f"{kind}Config")(d_model=width, **sizes, **changes)


def translator(kind="Marian", width=16, seed=0, **settings):
    """A model whose scores differ widely, as a trained one's do, in evaluation mode."""
    torch.manual_seed(seed)
    both = tokens()
    model = Seq2Seq(config(kind, width), settings.pop("source", both), settings.pop("text", both), **settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "embed_positions" not in name:
                parameter.normal_(std=0.4)
    return model.eval()


def batch(model, pairs):
    """What the DataModule makes of pairs, either side of which may be None."""
    sources, texts = zip(*pairs, strict=True)
    made = {
        "present/source": torch.tensor([each is not None for each in sources]),
        "present/text": torch.tensor([each is not None for each in texts]),
    }
    if any(each is not None for each in sources):
        made["source"] = model.preprocess.source([each for each in sources if each is not None])
    if any(each is not None for each in texts):
        made["text"] = model.preprocess.text([each for each in texts if each is not None])
    return made
