"""A BERT of a few numbers, with a tokenizer of its own, as a folder on disk."""

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

WORDS = [
    "the",
    "film",
    "a",
    "movie",
    "is",
    "was",
    "good",
    "bad",
    "dull",
    "not",
    "very",
    "and",
    "plot",
    "so",
    "fine",
    "long",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_tiny_bert(folder, layers=4, width=16, heads=4, words=WORDS, seed=0, side="right"):
    """Write the folder and return its name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *words]) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt"), padding_side=side).save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(words),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * width,
        max_position_embeddings=40,
        initializer_range=0.5,  # so that layers differ
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)
