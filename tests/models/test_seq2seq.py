import itertools
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdmm import targets
from kdmm.data import TrainedTokens
from kdmm.errors import InputError
from kdmm.losses import AttentionMaps, HiddenStates, SequenceCrossEntropy, TokenKL
from kdmm.models import (
    PretrainedSeq2Seq,
    Seq2Seq,
    Tapped,
    TextDecoder,
    load_model,
    save_model,
)
from tests.losses.data import flags
from tests.parallel import KINDS, PAIRS, Phrases, batch, config, tokens, translator

MIXED = [("der hund", "the dog sleeps"), ("heim", None), (None, "a cat"), ("die katze läuft", "home"), (None, None)]
BOTH = flags("10010")


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return translator(request.param)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def next_scores(model, source, written):
    """The scores of the token after those written, for one source text alone."""
    memory = model.read(source)
    previous = torch.tensor([[model.text.begin, *written]])
    return model.decoder(memory, previous)["logits"][0, -1]


def test_teacher_forcing_is_decoding_step_by_step(model):
    source, text = model.source(["die katze läuft heim"]), model.text(["the cat runs home"])
    logits = model({"source": source, "text": text})["logits"]
    assert logits.shape == (1, text.shape[1], model.text.size)
    for t in range(text.shape[1]):
        close(logits[0, t], next_scores(model, source, text[0, :t].tolist()))


def test_the_scores_are_those_of_the_next_tokens_and_the_last_one_is_the_end(model):
    outputs = model(batch(model, PAIRS))
    for row, (_, text) in enumerate(PAIRS):
        labels = outputs["tokens"][row]
        counts = labels[labels != -100]
        assert counts.tolist() == model.text([text])[0].tolist()
        assert counts[-1] == model.text.end
        assert torch.equal(outputs["valid/logits"][row], labels != -100)
    alone = [F.cross_entropy(model(batch(model, [pair]))["logits"][0], model.text([pair[1]])[0]) for pair in PAIRS]
    lengths = torch.tensor([float(model.text([text]).shape[1]) for _, text in PAIRS])
    expected = (torch.stack(alone) * lengths).sum() / lengths.sum()
    close(SequenceCrossEntropy("student.tokens")(outputs, {}, {}), expected)


def test_neither_padding_nor_neighbours_change_anything(model):
    together = model(batch(model, PAIRS))
    for row, pair in enumerate(PAIRS):
        alone = model(batch(model, [pair]))
        for name in ("logits", "decoder.1", "encoder.2"):
            valid = together[f"valid/{name}"][row]
            close(together[name][row][valid], alone[name][0])
    one, length = batch(model, PAIRS), together["tokens"].shape[1]
    counts = together["valid/logits"]
    for side, name in (("source", "valid/encoder.1"), ("text", "valid/logits")):
        outputs = model({**one, side: F.pad(one[side], (0, 3), value=model.text.pad)})
        assert not outputs[name][:, -3:].any()
        close(outputs["logits"][:, :length][counts], together["logits"][counts])
        assert torch.equal(outputs["tokens"][:, :length], together["tokens"])
        assert (outputs["tokens"][:, length:] == -100).all()
    assert model.generate(one["source"]) == model.generate(F.pad(one["source"], (0, 5), value=model.text.pad))


def test_texts_of_one_token_and_of_none(model):
    ids = model.text(["a"])[0].tolist()
    outputs = model(batch(model, [("heim", "a"), ("", "")]))
    assert outputs["tokens"].tolist() == [ids, [model.text.end] + [-100] * (len(ids) - 1)]
    close(outputs["logits"][1, 0], next_scores(model, model.source([""]), []))
    assert len(model.generate(model.source(["", "heim"]))) == 2


def test_samples_without_source_or_text(model):
    whole = model(batch(model, MIXED))
    pairs = model(batch(model, [pair for pair, has in zip(MIXED, BOTH, strict=True) if has]))
    sources = model(batch(model, [pair for pair in MIXED if pair[0] is not None]))
    assert torch.equal(whole["present/logits"], BOTH)
    assert torch.equal(whole["present/encoder.0"], flags("11010"))
    close(whole["logits"][BOTH], pairs["logits"])
    assert torch.equal(whole["tokens"][BOTH], pairs["tokens"])
    close(whole["encoder.1"][flags("11010")], sources["encoder.1"])
    assert (whole["tokens"][~BOTH] == -100).all()
    assert (whole["logits"][~BOTH] == 0).all()
    assert not whole["valid/logits"][~BOTH].any()


@pytest.mark.parametrize("pairs", [[("der hund", None), (None, "a cat")], [(None, None)], [(None, "a")], [("a", None)]])
def test_a_batch_without_a_pair_gives_nothing_and_gradients_of_zero(model, pairs):
    outputs = model(batch(model, pairs))
    assert outputs["logits"].shape == (len(pairs), 1, model.text.size)
    assert outputs["tokens"].tolist() == [[-100]] * len(pairs)
    assert not outputs["present/logits"].any()
    assert not outputs["valid/logits"].any()
    has_source = torch.tensor([source is not None for source, _ in pairs])
    assert torch.equal(outputs["present/encoder.1"], has_source)
    assert (outputs["encoder.1"][~has_source] == 0).all()
    loss = SequenceCrossEntropy("student.tokens")(outputs, {}, {})
    assert loss == 0
    loss.backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in model.parameters())
    assert any(p.grad is not None for p in model.parameters())
    model.zero_grad()


def test_without_flags_every_sample_has_both(model):
    made = batch(model, PAIRS)
    close(model({"source": made["source"], "text": made["text"]})["logits"], model(made)["logits"])
    with pytest.raises(InputError, match=r"6 samples with or without source, and 0 with or without text. Give"):
        model({"source": made["source"]})


def greedy(model, source, most):
    """Argmax in a loop, among the tokens that texts hold."""
    written = []
    while len(written) < most and model.text.end not in written:
        scores = next_scores(model, source, written)
        scores[[model.text.pad, model.text.begin]] = -torch.inf
        written.append(int(scores.argmax()))
    return written


def likelihood(model, source, written):
    """The log-likelihood a token."""
    text = torch.tensor([written])
    previous = torch.cat([torch.tensor([[model.text.begin]]), text[:, :-1]], 1)
    scores = model.decoder(model.read(source), previous)["logits"][0]
    scores[:, [model.text.pad, model.text.begin]] = -torch.inf
    return scores.log_softmax(1).gather(1, text.T).mean().item()


def cut(model, row):
    row = row.tolist()
    return row[: row.index(model.text.end) + 1] if model.text.end in row else [each for each in row if each]


@torch.no_grad()
def test_greedy_is_argmax_in_a_loop(model):
    sources = model.source([source for source, _ in PAIRS])
    own = model.decoder.write(model.read(sources), model.text, 1, 7)
    plain = TextDecoder.write(model.decoder, model.read(sources), model.text, 1, 7)
    for row, (source, _) in enumerate(PAIRS):
        expected = greedy(model, model.source([source]), 7)
        assert cut(model, own[row]) == cut(model, plain[row]) == expected
    assert model.generate(sources, max_tokens=7) == model.text.decode(own)
    assert model.translate([source for source, _ in PAIRS], max_tokens=7) == model.text.decode(own)
    assert model.translate([]) == []


@torch.no_grad()
def test_beams_find_a_likelier_text_than_greedy_and_both_searches_the_same(model):
    gains = []
    sources = model.source([source for source, _ in PAIRS])
    own = model.decoder.write(model.read(sources), model.text, 4, 7)
    plain = TextDecoder.write(model.decoder, model.read(sources), model.text, 4, 7)
    for row, (source, _) in enumerate(PAIRS):
        alone = model.source([source])
        assert cut(model, own[row]) == cut(model, plain[row])
        best = likelihood(model, alone, cut(model, own[row]))
        gains.append(best - likelihood(model, alone, greedy(model, alone, 7)))
    assert min(gains) > -1e-5
    assert max(gains) > 0


class Few(Seq2Seq):
    """Scores 3 tokens and the end alone, so that every text can be tried."""

    @property
    def decoder(self):
        return self.few

    def __init__(self, seed):
        super().__init__(config("Marian"), tokens(), tokens())
        torch.manual_seed(seed)
        self.few = Bigrams(6)


class Bigrams(TextDecoder):
    """The next token depends on the last one alone: a table."""

    def __init__(self, size):
        super().__init__()
        self.table = nn.Parameter(2 * torch.randn(size, size))

    def forward(self, memory, previous):
        return {"logits": self.table[previous]}


@pytest.mark.parametrize("seed", range(5))
@torch.no_grad()
def test_enough_beams_find_the_likeliest_of_all_texts(seed):
    model = Few(seed)
    source = model.source(["heim"])
    best, score = [], -torch.inf
    for length in range(1, 5):
        for text in itertools.product((2, 3, 4, 5), repeat=length):
            if model.text.end in text[:-1] or (length < 4 and text[-1] != model.text.end):
                continue
            value = likelihood(model, source, list(text))
            if value > score:
                best, score = list(text), value
    found = model.decoder.write(model.read(source), model.text, 300, 4)
    assert found[0].tolist() == best


def test_generating_neither_trains_nor_changes_the_mode(model):
    model.train()
    texts = model.generate(model.source(["heim", "der hund"]), beams=2, max_tokens=5)
    assert model.training
    model.eval()
    assert texts == model.generate(model.source(["heim", "der hund"]), beams=2, max_tokens=5)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(("settings", "said"), [({"beams": 0}, "beams: 0"), ({"max_tokens": 0}, "max_tokens: 0")])
def test_wrong_settings_of_generate_are_named(model, settings, said):
    with pytest.raises(InputError, match=said):
        model.generate(model.source(["heim"]), **settings)


def test_more_tokens_than_positions_are_refused():
    model = translator()
    with pytest.raises(InputError, match=r"max_tokens: 33 given, but the model has positions for 32"):
        model.generate(model.source(["heim"]), max_tokens=33)
    with pytest.raises(InputError, match=r"context_length is 40, but the network has positions for 32 tokens"):
        Seq2Seq(config("Marian"), tokens(context_length=40), tokens())


def test_what_does_not_fit_is_named():
    with pytest.raises(InputError, match=r"Seq2Seq.text: another tokenizer .* T5Config has one table"):
        Seq2Seq(config("T5"), tokens("source"), tokens("text"))
    with pytest.raises(InputError, match=r"Seq2Seq.network: Linear given. Give a config of transformers"):
        Seq2Seq(nn.Linear(1, 1), tokens(), tokens())
    other = TrainedTokens(Phrases((("pa pa pa", "ra ra ra"), *PAIRS)), 270, "both", 24)
    with pytest.raises(InputError, match=r"two tokenizers of the same settings \(`side: both`\) .* Set `side: source`"):
        Seq2Seq(config("Marian"), other, tokens())
    import transformers

    with pytest.raises(InputError, match=r"Seq2Seq.network: ViTConfig makes no encoder-decoder"):
        Seq2Seq(transformers.ViTConfig(), tokens(), tokens())


def test_each_side_may_have_its_own_tokenizer():
    source, text = tokens("source", 262), tokens("text", 265)
    model = translator(source=source, text=text)
    outputs = model(batch(model, PAIRS))
    assert outputs["logits"].shape[2] == 265
    assert model.network.model.get_encoder().embed_tokens.num_embeddings == 262
    assert model.preprocess.source == source
    assert model.preprocess.text == text
    assert translator().network.model.get_encoder().embed_tokens.num_embeddings == 270


def test_layers_are_given_as_the_network_computes_them():
    model = translator(attentions=True)
    made = batch(model, PAIRS)
    outputs = model(made)
    previous = F.pad(made["text"], (1, 0), value=model.text.begin)[:, :-1]
    found = model.network.model(
        input_ids=made["source"],
        attention_mask=(made["source"] != 0).long(),
        decoder_input_ids=previous,
        output_hidden_states=True,
        output_attentions=True,
    )
    close(outputs["logits"], found.logits)
    for name, layers in (
        ("encoder", found.encoder_hidden_states),
        ("decoder", found.decoder_hidden_states),
        ("encoder_attention", found.encoder_attentions),
        ("decoder_attention", found.decoder_attentions),
        ("cross_attention", found.cross_attentions),
    ):
        for place, layer in enumerate(layers):
            close(outputs[f"{name}.{place}"], layer)
    assert torch.equal(outputs["valid/encoder.1"], made["source"] != 0)
    assert torch.equal(outputs["valid/decoder_attention.0"], made["text"] != 0)
    assert torch.equal(outputs["valid/cross_attention.0"], made["text"] != 0)
    assert torch.equal(outputs["keys/cross_attention.0"], made["source"] != 0)
    assert not any("attention" in name for name in translator()(made))


def test_a_student_follows_layers_attention_and_distributions_of_its_teacher():
    student, teacher = translator(width=8, seed=1, attentions=True), translator(seed=2, attentions=True)
    made = batch(teacher, MIXED)
    ours, theirs = student(made), teacher(made)
    terms = [
        HiddenStates({"encoder.2": "encoder.2", "decoder.1": "decoder.1"}),
        AttentionMaps({"encoder_attention.1": "encoder_attention.1", "decoder_attention.0": "decoder_attention.0"}),
        AttentionMaps({"cross_attention.0": "cross_attention.0"}),
        TokenKL(),
    ]
    for term in terms:
        term.build(ours, theirs, {})
        value = term(ours, theirs, {})
        assert value > 0
        more = {name: F.pad(made[name], (0, 2), value=0) if name in ("source", "text") else made[name] for name in made}
        close(term(student(more), teacher(more), {}), value)  # padding is not compared
        if not isinstance(term, HiddenStates):  # whose maps, between these widths, are learned
            assert term(theirs, theirs, {}) < 1e-9


def test_taps_find_the_same_layers():
    model = translator()
    tapped = Tapped(model, {"last": "network.model.model.decoder.layers.0"})
    outputs = tapped(batch(model, MIXED[:1] * 3))
    close(outputs["last"], outputs["decoder.1"])


def test_a_model_is_a_file_that_translates_without_its_data(tmp_path):
    table = tmp_path / "pairs.jsonl"
    table.write_text("\n".join(json.dumps({"source": a, "target": b}) for a, b in PAIRS), "utf-8")
    source = {"_target_": "kdmm.data.ParallelTable", "path": str(table)}
    tokenizer = {"_target_": "kdmm.data.TrainedTokens", "trained_on": source, "vocab_size": 265, "context_length": 24}
    tree = {
        "_target_": "kdmm.models.Seq2Seq",
        "network": {"_target_": "transformers.MarianConfig", **_sizes(config("Marian"))},
        "source": {**tokenizer, "side": "source"},
        "text": {**tokenizer, "side": "text"},
    }
    torch.manual_seed(0)
    model = targets.build(tree).eval()
    save_model(tmp_path / "model.safetensors", model, tree)
    table.unlink()
    loaded = load_model(tmp_path / "model.safetensors")
    assert (loaded.source, loaded.text) == (model.source, model.text)
    assert loaded.preprocess == model.preprocess
    made = batch(loaded, PAIRS)
    assert torch.equal(loaded(made)["logits"], model(made)["logits"])
    assert loaded.translate(["der hund"], 2, 5) == model.translate(["der hund"], 2, 5)


def _sizes(made):
    names = [f"{side}_{name}" for side in ("encoder", "decoder") for name in ("layers", "attention_heads", "ffn_dim")]
    return {name: getattr(made, name) for name in ("d_model", "max_position_embeddings", *names)}


def test_shared_parameters_are_kept_once_and_stay_shared(model):
    state = model.state_dict()
    held = [name for name, value in state.items() if value.shape == (270, 16)]
    assert len(held) == 1
    kind = type(model.network.model).__name__
    other = translator(next(each for each in KINDS if kind.startswith(each)), seed=9)
    other.load_state_dict(state)
    inner = other.network.model
    assert inner.get_encoder().embed_tokens.weight is inner.get_input_embeddings().weight
    assert inner.get_output_embeddings().weight is inner.get_input_embeddings().weight
    close(other(batch(model, PAIRS))["logits"], model(batch(model, PAIRS))["logits"])


def test_a_network_of_ones_own_by_one_tree(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "packages"))
    tokenizer = {"_target_": "kdmm.data.TrainedTokens", "trained_on": {"_target_": "tests.parallel.Phrases"}}
    tree = {
        "_target_": "kdmm.models.Seq2Seq",
        "network": {"_target_": "scribe.Recurrent", "source_size": 262, "text_size": 265},
        "source": {**tokenizer, "vocab_size": 262, "side": "source"},
        "text": {**tokenizer, "vocab_size": 265, "side": "text"},
    }
    model = targets.build(tree, allow=("scribe", "tests")).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.8)
    test_teacher_forcing_is_decoding_step_by_step(model)
    test_greedy_is_argmax_in_a_loop(model)
    outputs = model(batch(model, MIXED))
    assert outputs["states"].shape[:2] == outputs["tokens"].shape
    assert torch.equal(outputs["present/read"], flags("11010"))
    save_model(tmp_path / "own.safetensors", model, tree)
    loaded = load_model(tmp_path / "own.safetensors", allow=("scribe", "tests"))
    assert loaded.translate(["die katze"], 3, 6) == model.translate(["die katze"], 3, 6)


def test_a_pretrained_model_in_a_folder(tmp_path):
    from transformers import PreTrainedTokenizerFast

    model, both = translator("T5"), tokens()
    model.network.model.save_pretrained(tmp_path / "t5")
    (tmp_path / "tokenizer.json").write_text(both.content)
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<pad>"}
    fast = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), **special)
    fast.backend_tokenizer.post_processor = _ending()
    fast.save_pretrained(tmp_path / "t5")
    name = str(tmp_path / "t5")
    pretrained = PretrainedSeq2Seq(name, context_length=24).eval()
    assert torch.equal(pretrained.source(["der hund", "heim"]), both(["der hund", "heim"]))
    made = batch(model, PAIRS)
    close(pretrained(made)["logits"], model(made)["logits"])
    assert pretrained.translate(["der hund"], 3, 6) == model.translate(["der hund"], 3, 6)
    tree = {"_target_": "kdmm.models.PretrainedSeq2Seq", "name": name, "context_length": 24}
    with torch.no_grad():
        pretrained.network.model.shared.weight.mul_(1.5)  # trained on
    save_model(tmp_path / "model.safetensors", pretrained, tree)
    close(load_model(tmp_path / "model.safetensors")(made)["logits"], pretrained(made)["logits"])
    with pytest.raises(InputError, match=r"PretrainedSeq2Seq.name: .*no' is neither a folder"):
        PretrainedSeq2Seq(str(tmp_path / "no"))


def _ending():
    from tokenizers.processors import TemplateProcessing

    return TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])


def test_a_few_pairs_are_learned():
    torch.manual_seed(0)
    model = Seq2Seq(config("Marian", 32, dropout=0.0), tokens(), tokens())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    made, loss = batch(model, PAIRS), SequenceCrossEntropy("student.tokens")
    for _ in range(80):
        optimizer.zero_grad()
        value = loss(model(made), {}, {})
        value.backward()
        optimizer.step()
    assert model.translate([source for source, _ in PAIRS]) == [text for _, text in PAIRS]
    assert model.translate([source for source, _ in PAIRS], beams=3) == [text for _, text in PAIRS]
