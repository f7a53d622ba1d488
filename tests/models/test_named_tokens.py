import pickle

import open_clip
import pytest
import torch

from kdmm.data import TrainedTokens
from kdmm.models import OpenClipTokens, TransformerTokens, token_memory
from kdmm.models.named_tokens import transformers_tokenizer
from kdmm.models.writing import FolderTokens
from tests.conftest import MINILM
from tests.data.files import Held, texts

TEXTS = ["a cat", "", "a considerably longer caption about two cats and a dog", "a cat", "dog"]


def expected(texts, length):
    tokenizer = transformers_tokenizer(MINILM)
    return tokenizer(texts, return_tensors="pt", padding="longest", truncation=True, max_length=length).input_ids


def open_clip_expected(texts):
    """Of CLIP's own tokenizer, up to the end of the longest text."""
    tokens = open_clip.get_tokenizer("ViT-B-32")(texts)
    return tokens[:, : int(tokens.argmax(1).max()) + 1]


def trained():
    return TrainedTokens(Held(train=texts(5)), 262)


KINDS = {
    "transformers": (lambda: TransformerTokens(MINILM), lambda texts: expected(texts, 64)),
    "cut": (lambda: TransformerTokens(MINILM, 4), lambda texts: expected(texts, 4)),
    "encoder-decoder": (lambda: FolderTokens(MINILM), lambda texts: expected(texts, 64)),
    "open_clip": (lambda: OpenClipTokens("ViT-B-32"), open_clip_expected),
    "trained": (trained, lambda texts: torch.nn.utils.rnn.pad_sequence(trained().rows(texts), batch_first=True)),
}


@pytest.fixture(autouse=True)
def nothing_remembered():
    token_memory._known_tokens.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_remembered_tokens_are_the_tokenizers(kind, monkeypatch):
    make, plain = KINDS[kind]
    for part in (TEXTS, TEXTS[3:], TEXTS[:2], ["something new", *TEXTS]):
        assert torch.equal(make()(part), plain(part))
    token_memory._known_tokens.cache_clear()
    monkeypatch.setattr(token_memory, "REMEMBERED_TEXTS", 3)  # fewer than a batch holds
    for part in (TEXTS, ["x", *TEXTS]):
        assert torch.equal(make()(part), plain(part))


@pytest.mark.parametrize("kind", [each for each in KINDS if each != "encoder-decoder"])  # which asks "transformers"
def test_a_text_is_numbered_once(kind, monkeypatch):
    tokens, asked = KINDS[kind][0](), []
    rows = type(tokens).rows
    monkeypatch.setattr(type(tokens), "rows", lambda self, texts: asked.extend(texts) or rows(self, texts))
    size = len(pickle.dumps(tokens))
    for part in (TEXTS, TEXTS[::-1], ["new", *TEXTS[1:]]):
        tokens(part)
        pickle.loads(pickle.dumps(tokens))(part)  # an equal one shares the memory
    assert asked == [*dict.fromkeys(TEXTS), "new"]
    assert len(pickle.dumps(tokens)) == size  # workers are not sent it


def test_the_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(token_memory, "REMEMBERED_TEXTS", 4)
    tokens = trained()
    for n in range(10):
        tokens([f"{n}", f"{n + 1}"])
        assert len(token_memory._known_tokens(tokens)) <= 4
