import torch

from kdmm.models import TransformerTokens, named_tokens
from kdmm.models.named_tokens import transformers_tokenizer
from tests.conftest import MINILM


def expected(texts, length):
    tokenizer = transformers_tokenizer(MINILM)
    return tokenizer(texts, return_tensors="pt", padding="longest", truncation=True, max_length=length).input_ids


def test_remembered_tokens_are_the_tokenizers(monkeypatch):
    texts = ["a cat", "", "a considerably longer caption about two cats and a dog", "a cat", "dog"]
    for length in (4, 64):
        tokens = TransformerTokens(MINILM, length)
        for part in (texts, texts[3:], texts[:2], ["something new", *texts]):
            assert torch.equal(tokens(part), expected(part, length))
    monkeypatch.setattr(named_tokens, "REMEMBERED_TEXTS", 3)  # fewer than a batch holds
    assert torch.equal(TransformerTokens(MINILM, 5)(texts), expected(texts, 5))
    assert torch.equal(TransformerTokens(MINILM, 5)(["x", *texts]), expected(["x", *texts], 5))
