"""What a classifier says, computed once before training."""

import pytest
import torch

from kdmm.errors import InputError
from kdmm.models import BagOfTokens, Classifier, ConvImage, DualEncoder, TransformerText
from kdmm.teachers import Frozen, Precomputed
from kdmm.views import EVAL_VIEW
from tests.models.tiny_bert import write_tiny_bert

TEXTS = ["the film is good", "bad", "so long and dull"]


class FakeData:
    fingerprint = "fake"
    views = 2

    def __init__(self):
        self.asked = 0

    def texts(self, splits):
        self.asked += 1
        return TEXTS

    def views_loader(self, split, views, preprocess, batch_size):
        self.asked += 1
        for view in views:
            yield {"id": ["a", "b"], "view": [view] * 2, "image": torch.stack([picture(n, view) for n in "ab"])}


def picture(sample, view):
    generator = torch.Generator().manual_seed(100 * ord(sample) + view + 1)
    return torch.randn(3, 8, 8, generator=generator)


def ask(captions, modality="text", ids=None, views=None):
    flags = torch.tensor([caption is not None for caption in captions])
    ids = [str(n) for n in range(len(captions))] if ids is None else ids
    return {"id": ids, "view": views or [0] * len(ids), "caption": captions, f"present/{modality}": flags}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = write_tiny_bert(tmp_path_factory.mktemp("bert"))
    return Frozen(Classifier(TransformerText(folder), 3))


def test_a_classifiers_answers_are_looked_up_by_the_text(teacher, tmp_path):
    stored = Precomputed(teacher, views=1, store=str(tmp_path), outputs=["logits", "features"])
    stored.prepare(FakeData(), ["train", "val"])
    captions = [TEXTS[2], None, TEXTS[0], TEXTS[2]]
    answer = stored(ask(captions))
    text = teacher.preprocess.text([caption for caption in captions if caption])
    expected = teacher({"text": text, "present/text": torch.tensor([True, False, True, True])})
    assert set(answer) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(answer[name], value, atol=1e-5, rtol=1e-5)
    nothing = stored(ask([None, None]))
    assert nothing["logits"].shape == (2, 3)
    assert not nothing["present/logits"].any()
    with pytest.raises(InputError, match=r"hold no text 'another'"):
        stored(ask(["another"]))


def test_what_is_kept_is_read_back_and_told_apart(teacher, tmp_path):
    first = Precomputed(teacher, views=1, store=str(tmp_path), outputs=["logits"])
    first.prepare(FakeData(), ["train"])
    again = Precomputed(teacher, views=1, store=str(tmp_path), outputs=["logits"])
    again.prepare(FakeData(), ["train"])
    assert len(list(tmp_path.iterdir())) == 1
    assert torch.equal(again(ask(TEXTS))["logits"], first(ask(TEXTS))["logits"])
    other = Precomputed(teacher, views=1, store=str(tmp_path), outputs=["features"])
    other.prepare(FakeData(), ["train"])
    assert len(list(tmp_path.iterdir())) == 2
    assert other(ask(TEXTS))["features"].shape == (3, 16)


def test_a_classifier_of_pictures_answers_by_view():
    teacher = Frozen(Classifier(ConvImage([4], 8), 3))
    stored = Precomputed(teacher, views=2, outputs=["logits"])
    stored.prepare(FakeData(), ["train", "val"])
    answer = stored(ask(["", "", ""], "image", ["b", "a", "b"], [1, 0, EVAL_VIEW]))
    images = torch.stack([picture("b", 1), picture("a", 0), picture("b", EVAL_VIEW)])
    torch.testing.assert_close(answer["logits"], teacher({"image": images})["logits"], atol=1e-6, rtol=1e-5)


def test_what_cannot_be_kept_is_named(teacher):
    with pytest.raises(InputError, match=r"reads teacher.logit, but the teacher gives only .*Did you mean 'logits'"):
        Precomputed(teacher, views=1, outputs=["logit"]).prepare(FakeData(), ["train"])
    with pytest.raises(InputError, match=r"the teacher's 'present/logits' has the shape"):
        Precomputed(teacher, views=1, outputs=["present/logits"]).prepare(FakeData(), ["train"])
    two = DualEncoder(ConvImage([4], 8), BagOfTokens(teacher.preprocess.text.name, 4), 4, weights_from="a run")
    with pytest.raises(InputError, match=r"Precomputed.outputs: logits given, and the teacher reads image, text"):
        Precomputed(Frozen(two), views=1, outputs=["logits"])
