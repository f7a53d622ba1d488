"""Texts that may not end: searches take as many steps as they may."""

import itertools

import pytest
import torch
from torch import nn

from kdmm.models import Memory, TextDecoder
from kdmm.models.writing import Endless
from tests.parallel import KINDS, PAIRS, tokens, translator

SIX = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))


class Bigrams(TextDecoder):
    """The next of six tokens depends on the last one alone; the end is likeliest by far."""

    def __init__(self) -> None:
        super().__init__()
        table = SIX.clone()
        table[:, tokens().end] = 9.0
        self.table = nn.Parameter(table)

    def forward(self, memory, previous):
        return {"logits": self.table[previous]}


@torch.no_grad()
def test_the_likeliest_text_without_an_end_is_found():
    decoder, memory = Bigrams(), Memory(torch.zeros(2, 1, 1), torch.ones(2, 1, dtype=torch.bool))
    text = tokens()
    assert decoder.write(memory, text, 1, 4).tolist() == [[text.end]] * 2
    scores = SIX[:, 3:].log_softmax(1)  # what is left without padding, begin and end

    def likelihood(written):
        return sum(scores[a, b - 3] for a, b in zip((text.begin, *written), written, strict=False))

    best = max(itertools.product((3, 4, 5), repeat=4), key=likelihood)
    for beams in (27, 3):  # three are enough here
        assert decoder.write(memory, Endless(text), beams, 4).tolist() == [list(best)] * 2


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_and_beams_of_both_searches_write_as_much_as_they_may(kind):
    model = translator(kind)
    end = torch.tensor([model.text.end])
    head = model.network.model.get_output_embeddings()
    head.register_forward_hook(lambda _, inputs, scores: scores.index_fill(-1, end, 99.0))
    memory, text = model.read(model.source([source for source, _ in PAIRS])), Endless(model.text)
    for beams in (1, 4):
        for own in (model.decoder.write, lambda *args: TextDecoder.write(model.decoder, *args)):
            written = own(memory, text, beams, 16)
            assert written.shape == (len(PAIRS), 16)
            assert not torch.isin(written, torch.tensor([text.pad, text.begin, text.end])).any()
            assert own(memory, model.text, beams, 16)[:, 0].eq(end).all()  # what they would have written
    greedy = model.decoder.write(memory, text, 1, 16)
    previous = torch.cat([torch.full((len(PAIRS), 1), text.begin), greedy[:, :-1]], 1)
    logits = model.decoder(memory, previous)["logits"]
    logits[..., [text.pad, text.begin, text.end]] = -torch.inf
    assert torch.equal(logits.argmax(2), greedy)


def test_all_else_is_the_tokenizers():
    text, inner = Endless(tokens()), tokens()
    assert text.never == (0, 1, 2)
    for name in ("size", "context_length", "pad", "begin", "end"):
        assert getattr(text, name) == getattr(inner, name)
    ids = inner(["the dog", "home"])
    assert torch.equal(text(["the dog", "home"]), ids)
    assert text.decode(ids) == ["the dog", "home"]
