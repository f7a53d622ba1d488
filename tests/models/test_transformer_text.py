import copy

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from kdmm.errors import InputError
from kdmm.losses import AttentionMaps, HiddenStates
from kdmm.models import Classifier, SharedSpace, Tapped, TransformerText
from tests.losses.data import flags
from tests.models.tiny_bert import write_tiny_bert

TEXTS = ["the film is good", "bad", "a very long and dull movie so bad and not fine"]
TAPS = {"h0": "tower.states.0", "h2": "tower.states.2", "h4": "tower.states.4", "a1": "tower.scores.1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("bert"))


def tapped(folder, taps=TAPS, **settings):
    return Tapped(Classifier(TransformerText(folder, **settings), 2), taps).eval()


def tokens(folder):
    return TransformerText(folder).preprocess(TEXTS)


def test_states_and_scores_are_transformers_own(folder):
    outputs = tapped(folder)({"text": tokens(folder)})
    own = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    read = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    expected = own(**read, output_hidden_states=True, output_attentions=True)
    for layer in (0, 2, 4):
        torch.testing.assert_close(outputs[f"h{layer}"], expected.hidden_states[layer], atol=1e-5, rtol=1e-5)
        assert torch.equal(outputs[f"valid/h{layer}"], read.attention_mask.bool())
    torch.testing.assert_close(outputs["a1"].softmax(-1), expected.attentions[1], atol=1e-5, rtol=1e-5)
    assert torch.equal(outputs["valid/a1"], read.attention_mask.bool())
    weight = read.attention_mask[..., None]
    mean = (expected.last_hidden_state * weight).sum(1) / weight.sum(1)
    torch.testing.assert_close(outputs["features"], mean, atol=1e-5, rtol=1e-5)


def test_scores_are_products_of_queries_and_keys(folder):
    model = tapped(folder)
    outputs = model({"text": tokens(folder)})
    layer = model.model.tower.trunk.encoder.layer[1].attention.self
    states = AutoModel.from_pretrained(folder).eval()(
        input_ids=tokens(folder), attention_mask=(tokens(folder) != 0).long(), output_hidden_states=True
    )
    query, key = layer.query(states.hidden_states[1]), layer.key(states.hidden_states[1])
    for text, head, one, other in [(0, 0, 1, 2), (0, 3, 4, 0), (2, 1, 7, 7)]:
        part = slice(4 * head, 4 * head + 4)
        expected = query[text, one, part] @ key[text, other, part] / 2  # the root of a head's width
        torch.testing.assert_close(outputs["a1"][text, head, one, other], expected, atol=1e-4, rtol=1e-4)
    assert (outputs["a1"][1, :, :, 3:] < -1e3).all()  # "bad" has three tokens; the rest is masked


def test_taps_change_nothing_and_leave_no_trace(folder):
    plain, text = Classifier(TransformerText(folder), 2).eval(), tokens(folder)
    before = plain({"text": text})["logits"]
    wrapped = Tapped(plain, TAPS)
    torch.testing.assert_close(wrapped({"text": text})["logits"], before, atol=1e-5, rtol=1e-5)
    assert plain.tower.trunk.config._attn_implementation == "kdmm_scores"
    wrapped.remove()
    torch.testing.assert_close(plain({"text": text})["logits"], before, atol=0, rtol=0)
    assert plain.tower.trunk.config._attn_implementation == "sdpa"
    assert plain.state_dict().keys() == Classifier(TransformerText(folder), 2).state_dict().keys()
    states = Tapped(plain, {"h": "tower.states.1"})
    states({"text": text})
    assert plain.tower.trunk.config._attn_implementation == "sdpa"  # hidden states alone need no other attention


def test_samples_without_text_count_nowhere(folder):
    model, flag = tapped(folder), flags("10110")
    whole = model({"text": tokens(folder)})
    some = model({"text": tokens(folder), "present/text": flag})
    for name in ("h2", "a1"):
        torch.testing.assert_close(some[name][flag], whole[name])
        assert torch.equal(some[f"valid/{name}"][flag], whole[f"valid/{name}"])
        assert not some[f"valid/{name}"][~flag].any()
        assert torch.equal(some[f"present/{name}"], flag)
    nothing = model({"present/text": flags("00")})
    assert nothing["h2"].shape == (2, *whole["h2"].shape[1:])
    assert not nothing["present/h2"].any()


def test_what_padding_holds_does_not_change_a_loss(folder):
    """TinyBERT's terms see the same whether a short text stands alone or beside a long one."""
    teacher = tapped(folder, {"h": "tower.states.4", "a": "tower.scores.3"})
    student = tapped(folder, {"h": "tower.states.2", "a": "tower.scores.1"}, weights=None, layers=2, width=8, heads=4)
    both = tokens(folder)[:2]  # padded to the longer
    alone = [both[:1, :6], both[1:, :3]]
    terms = {"states": HiddenStates({"h": "h"}), "attention": AttentionMaps({"a": "a"})}
    together = student({"text": both}), teacher({"text": both})
    terms["states"].build(*together, {})
    counts = {"states": [6, 3], "attention": [36, 9]}  # tokens, and pairs of them
    for name, term in terms.items():
        parts = [term(student({"text": text}), teacher({"text": text}), {}) for text in alone]
        mean = sum(part * count for part, count in zip(parts, counts[name], strict=True)) / sum(counts[name])
        torch.testing.assert_close(term(*together, {}), mean, atol=1e-5, rtol=1e-4)


def test_both_terms_reach_every_layer_below(folder):
    teacher = tapped(folder, {"h": "tower.states.4", "a": "tower.scores.3"})
    student = tapped(folder, {"h": "tower.states.1", "a": "tower.scores.1"}, weights=None, layers=2, width=8, heads=4)
    text = tokens(folder)
    for term, reached in ((HiddenStates({"h": "h"}), "layer.0"), (AttentionMaps({"a": "a"}), "layer.1.attention.self")):
        ours, theirs = student({"text": text}), teacher({"text": text})
        term.build(ours, theirs, {})
        student.zero_grad()
        term(ours, theirs, {}).backward()
        found = {name for name, each in student.named_parameters() if each.grad is not None and each.grad.any()}
        assert "model.tower.trunk.embeddings.word_embeddings.weight" in found
        assert any(f"{reached}." in name for name in found)
        assert not any("layer.1.output" in name for name in found)  # above what is compared
        assert all(each.grad is None or not each.grad.any() for each in teacher.parameters())


def test_a_copy_is_tapped_apart(folder):
    model = tapped(folder)
    other = copy.deepcopy(model)
    outputs = other({"text": tokens(folder)})
    torch.testing.assert_close(outputs["h2"], model({"text": tokens(folder)})["h2"])
    assert outputs["valid/h2"].any()


def test_a_tower_of_a_shared_space_is_tapped_too(folder):
    model = Tapped(SharedSpace({"text": TransformerText(folder)}), {"h": "towers.text.states.2"}).eval()
    outputs = model({"text": tokens(folder)})
    torch.testing.assert_close(outputs["h"], tapped(folder)({"text": tokens(folder)})["h2"])
    assert torch.equal(outputs["valid/h"], tokens(folder) != 0)


def test_another_width_keeps_the_ratio(folder):
    tower = TransformerText(folder, weights=None, layers=3, width=8, heads=2)
    config = tower.trunk.config
    assert (tower.width, config.intermediate_size, config.num_hidden_layers, config.num_attention_heads) == (
        8,
        16,
        3,
        2,
    )
    assert tower(tokens(folder)).shape == (3, 8)
    assert len(tower.states) == 4


def test_dropout_leaves_the_scores_alone(folder):
    model, text = tapped(folder, {"a0": "tower.scores.0"}), tokens(folder)
    plain = model({"text": text})["a0"]
    model.train()
    model.model.tower.trunk.embeddings.eval()  # its dropout comes before
    torch.testing.assert_close(model({"text": text})["a0"], plain)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"width": 8}, "TransformerText.width and heads: 8 and None given, and `weights: pretrained`"),
        ({"weights": None, "heads": 3}, "TransformerText.heads: 3 heads do not divide the width 16"),
        ({"weights": None, "width": 10}, "TransformerText.heads: 4 heads do not divide the width 10"),
    ],
)
def test_wrong_widths_are_named(folder, settings, said):
    with pytest.raises(InputError, match=said):
        TransformerText(folder, **settings)
