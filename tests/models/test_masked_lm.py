"""Masked language models against transformers' own, and DistilBERT's three losses on them."""

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    RobertaConfig,
)

from kdmm import targets
from kdmm.errors import InputError
from kdmm.losses import HiddenStates, SequenceCrossEntropy, TokenKL
from kdmm.metrics import TokenAccuracy
from kdmm.models import Classifier, Inherited, MaskedLM, Tapped, TransformerText, load_model, save_model
from tests.losses.data import flags
from tests.models.tiny_bert import WORDS, write_tiny_bert

TEXTS = ["the film is good and the plot was fine", "bad", "a very long and dull movie so bad and not fine", ""]
NAMES = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a BERT that has a trained head."""
    name = write_tiny_bert(tmp_path_factory.mktemp("bert"))
    config = BertConfig.from_pretrained(name)
    torch.manual_seed(3)
    BertForMaskedLM(config).save_pretrained(name)
    return name


@pytest.fixture(scope="module")
def headless(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("headless"))


def masked(folder, tower=None, **settings):
    return MaskedLM(TransformerText(folder, **(tower or {})), **settings).eval()


def batch(model, texts=TEXTS, names=NAMES, view=0):
    return {"id": list(names), "view": [view] * len(texts), "text": model.preprocess.text(list(texts))}


def hidden(model, texts=TEXTS):
    """What the model reads, and what it is to guess at each place."""
    seen = []
    handle = model.tower.trunk.register_forward_pre_hook(
        lambda _, given, named: seen.append(named["input_ids"]), with_kwargs=True
    )
    outputs = model(batch(model, texts))
    handle.remove()
    return seen[0], outputs


@pytest.mark.parametrize("scored", ["masked", "all"])
def test_scores_and_loss_are_transformers_own(folder, scored):
    model = masked(folder, weights="pretrained", scored=scored, ratio=0.4)
    own = BertForMaskedLM.from_pretrained(folder).eval()
    read, outputs = hidden(model)
    text = model.preprocess.text(TEXTS)
    _, everywhere = hidden(masked(folder, weights="pretrained", scored="all", ratio=0.4))
    labels = everywhere["tokens"]
    expected = own(input_ids=read, attention_mask=(text != 0).long(), labels=labels)
    found = SequenceCrossEntropy("student.tokens")(outputs, {}, {})
    torch.testing.assert_close(found, expected.loss, atol=1e-5, rtol=1e-5)
    if scored == "all":
        torch.testing.assert_close(outputs["logits"], expected.logits, atol=1e-4, rtol=1e-4)
        assert torch.equal(outputs["valid/logits"], text != 0)
    else:
        counts = [max(1, round(0.4 * len(one.split()))) if one else 0 for one in TEXTS]
        assert outputs["valid/logits"].sum(1).tolist() == counts
        assert outputs["logits"].shape == (4, round(0.4 * text.shape[1]), own.config.vocab_size)
        for row in range(4):
            places = labels[row] != -100
            valid = outputs["valid/logits"][row]
            assert outputs["tokens"][row][valid].tolist() == labels[row][places].tolist()
            torch.testing.assert_close(
                outputs["logits"][row][valid], expected.logits[row][places], atol=1e-4, rtol=1e-4
            )
        assert torch.equal(outputs["tokens"] != -100, outputs["valid/logits"])


def test_soft_labels_count_at_hidden_tokens_or_at_all(folder):
    """DistilBERT's code knows both; the hidden ones alone are the same whether the others are scored or not."""
    small = {"layers": 1}
    student, teacher = (
        {scored: masked(folder, tower, weights="pretrained", scored=scored) for scored in ("masked", "all")}
        for tower in (small, None)
    )
    answers = {
        scored: (student[scored](batch(student[scored])), teacher[scored](batch(teacher[scored]))) for scored in student
    }
    alone = TokenKL(temperature=2.0)(*answers["masked"], {})
    torch.testing.assert_close(TokenKL(temperature=2.0, label="student.tokens")(*answers["all"], {}), alone)
    ours, theirs = answers["all"]
    valid = ours["valid/logits"]
    p, q = ours["logits"][valid] / 2, theirs["logits"][valid] / 2
    expected = F.kl_div(p.log_softmax(-1), q.softmax(-1), reduction="batchmean") * 4  # as DistilBERT's code has it
    torch.testing.assert_close(TokenKL(temperature=2.0)(*answers["all"], {}), expected)
    assert alone != expected


def test_the_cosine_of_the_last_states_is_that_of_pytorch(folder):
    models = [
        Tapped(masked(folder, tower), {"h": name})
        for tower, name in (({"layers": 2}, "tower.states.2"), (None, "tower.states.4"))
    ]
    ours, theirs = (model(batch(model)) for model in models)
    valid = batch(models[0])["text"] != 0
    assert torch.equal(ours["valid/h"], valid)
    expected = F.cosine_embedding_loss(ours["h"][valid], theirs["h"][valid], torch.ones(int(valid.sum())))
    found = HiddenStates({"h": "h"}, distance="cosine")
    found.build(ours, theirs, {})
    torch.testing.assert_close(found(ours, theirs, {}), expected)


def test_every_part_gets_a_gradient_and_the_table_is_one(headless):
    model = masked(headless).train()
    outputs = model(batch(model))
    SequenceCrossEntropy("student.tokens")(outputs, {}, {}).backward()
    assert all(each.grad is not None for each in model.parameters())
    assert model.head.cls.predictions.decoder.weight is model.tower.trunk.embeddings.word_embeddings.weight
    assert sum(each.numel() for each in model.parameters()) == sum(
        each.numel() for each in BertForMaskedLM(model.tower.trunk.config).parameters()
    )


def test_teacher_and_student_have_the_same_gaps_in_any_batch_and_every_view_others(folder):
    student, teacher = masked(folder, {"layers": 1}), masked(folder)
    student.train()
    ours, theirs = student(batch(student)), teacher(batch(teacher))
    assert torch.equal(ours["tokens"], theirs["tokens"])
    alone = student(batch(student, TEXTS[2:3], NAMES[2:3]))
    assert alone["tokens"][0].tolist() == ours["tokens"][2][: alone["tokens"].shape[1]].tolist()
    others = [student(batch(student, view=view))["tokens"] for view in range(1, 6)]
    assert any(not torch.equal(each, ours["tokens"]) for each in others)


def test_empty_texts_and_absent_ones_count_nowhere(folder):
    model = masked(folder)
    whole = model(batch(model))
    assert not whole["valid/logits"][3].any()
    given = batch(model, TEXTS[:2], ["a", "x", "b", "y"])
    some = model({**given, "view": [0] * 4, "present/text": flags("1010")})
    for row, place in ((0, 0), (1, 2)):
        valid = whole["valid/logits"][row]
        torch.testing.assert_close(
            some["logits"][place][some["valid/logits"][place]], whole["logits"][row][valid], atol=1e-4, rtol=1e-4
        )
    assert some["present/logits"].tolist() == [True, False, True, False]
    assert (some["tokens"][1] == -100).all()
    nothing = model({"id": ["x", "y"], "view": [0, 0], "present/text": flags("00")})
    assert nothing["logits"].shape[0] == 2
    for outputs in (nothing, model(batch(model, [""], ["d"]))):
        loss = SequenceCrossEntropy("student.tokens")(outputs, {}, {}) + TokenKL()(outputs, outputs, {})
        assert loss == 0
        assert loss.requires_grad


def test_other_vocabularies_and_other_gaps_are_refused(folder, tmp_path):
    reversed_words = masked(write_tiny_bert(tmp_path / "other", words=WORDS[::-1]))
    fewer = masked(write_tiny_bert(tmp_path / "fewer", words=WORDS[:-1]))
    student = masked(folder)
    ours = student(batch(student))
    for teacher in (reversed_words, masked(folder, seed=1)):
        with pytest.raises(InputError, match=r"TokenKL: student and teacher score other tokens of the same texts"):
            TokenKL().build(ours, teacher(batch(teacher)), {})
    TokenKL().build(ours, masked(folder, {"layers": 2})(batch(student)), {})
    with pytest.raises(InputError, match=r"student.logits scores 21 tokens, and teacher.logits 20"):
        TokenKL()(ours, fewer(batch(fewer)), {})
    for other in (masked(folder, scored="all"), masked(folder, ratio=0.5)):
        with pytest.raises(InputError, match=r"Tokens are compared place by place"):
            TokenKL()(ours, other(batch(other)), {})


def test_a_model_is_saved_with_its_table_once_and_what_is_learned_can_be_classified(folder, tmp_path):
    model = masked(folder, weights="pretrained", scored="all")
    tower = {"_target_": "kdmm.models.TransformerText", "name": folder}
    tree = {"_target_": "kdmm.models.MaskedLM", "tower": tower, "weights": "pretrained", "scored": "all"}
    save_model(tmp_path / "student.safetensors", model, tree)
    assert "head.cls.predictions.decoder.weight" not in model.state_dict()
    loaded = load_model(tmp_path / "student.safetensors")
    torch.testing.assert_close(loaded(batch(model))["logits"], model(batch(model))["logits"])
    assert loaded.head.cls.predictions.decoder.weight is loaded.tower.trunk.embeddings.word_embeddings.weight
    fresh = Classifier(TransformerText(folder, weights=None), 2)
    classifier = Inherited(fresh, {"tower": "tower"}, str(tmp_path / "student.safetensors"))
    assert torch.equal(
        classifier.tower.trunk.encoder.layer[3].output.dense.weight,
        model.tower.trunk.encoder.layer[3].output.dense.weight,
    )
    assert targets.gives(tree) == {"logits", "tokens"}


SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 21}
CONFIGS = {
    "distilbert": DistilBertConfig(dim=16, n_layers=2, n_heads=2, hidden_dim=16, vocab_size=21),
    "roberta": RobertaConfig(**SIZES, pad_token_id=0),
    "electra": ElectraConfig(**SIZES, embedding_size=8),
    "modernbert": ModernBertConfig(**SIZES, pad_token_id=0),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_heads_of_other_architectures_are_theirs(kind, tmp_path):
    folder = write_tiny_bert(tmp_path)  # for its tokenizer
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(CONFIGS[kind]).save_pretrained(folder)
    own = AutoModelForMaskedLM.from_pretrained(folder).eval()
    model = masked(folder, weights="pretrained", scored="all")
    read, outputs = hidden(model)
    mask = (model.preprocess.text(TEXTS) != 0).long()
    expected = own(input_ids=read, attention_mask=mask).logits
    valid = outputs["valid/logits"]
    torch.testing.assert_close(outputs["logits"][valid], expected[valid], atol=1e-4, rtol=1e-4)


def test_tokens_are_counted_by_their_metric(folder):
    model = masked(folder, weights="pretrained")
    outputs = model(batch(model))
    metric = TokenAccuracy()
    metric.update(outputs, {}, {"id": NAMES})
    expected = SequenceCrossEntropy("student.tokens")(outputs, {}, {})
    torch.testing.assert_close(metric.compute()["cross_entropy"], expected)


def test_what_cannot_be_a_masked_language_model_is_named(folder, headless, tmp_path):
    with pytest.raises(InputError, match=r"MaskedLM.weights: 'pretrained', but .* holds no trained head \(cls\."):
        masked(headless, weights="pretrained")
    for ratio in (0, 1.5):
        with pytest.raises(InputError, match=f"MaskedLM.ratio: {ratio} given"):
            masked(folder, ratio=ratio)
    with pytest.raises(InputError, match=r"makes no masked language model .* in the width of its weights"):
        masked(folder, {"weights": None, "width": 8}, weights="pretrained")
