import json
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from kdmm.data import ImageRef, Sample
from kdmm.errors import InputError
from kdmm.models import (
    BagOfTokens,
    Captioner,
    ConvImage,
    DualEncoder,
    ImageTransform,
    Preprocess,
    TransformerDecoder,
    Writer,
)
from kdmm.runs.choosing import Judged, choice_by
from kdmm.runs.generation import write_table
from tests.conftest import MINILM
from tests.data.files import encoded, pairs
from tests.parallel import Phrases, tokens, translator


def lengths(texts):
    """The number of letters."""
    return torch.tensor([len(text) for text in texts])


def darkness(picture):
    """How many letters a grey of this darkness is worth: 0 of black, 5 of 50, ..."""
    return torch.tensor(picture.getpixel((0, 0))[0] / 10)


class Counts(nn.Module):
    """A judge that holds a text of as many letters as a picture is worth for the best, as directions in a plane."""

    preprocess = Preprocess(image=darkness, text=lengths)

    def __init__(self):
        super().__init__()
        self.angle = nn.Parameter(torch.tensor(0.1))

    def forward(self, batch):
        assert not torch.is_grad_enabled()
        assert not self.training
        angles = {name: rows * self.angle for name, rows in batch.items()}
        longer = {"image": 1, "text": 1 + 9 * angles.get("text", torch.zeros(1))[:, None]}  # no cosine: no normalizing
        return {name: longer[name] * torch.stack([each.cos(), each.sin()], 1) for name, each in angles.items()}


class Describing(Writer):
    """Has three guesses about each grey, the likeliest first; two by two."""

    modality = "image"
    preprocess = Preprocess(image=ImageTransform(2, mean=(0.0,) * 3, std=(1.0,) * 3))
    decoder = blank = None
    guesses: ClassVar = {
        50: ["a", "five5", "longest of all"],  # 5: the second
        60: ["three", "the six!", "one"],  # 6, between 5 and 8: the first
        140: ["a", "", "longest of all"],  # 14: the third
        20: ["abc", "ab", "xy"],  # 2: the first of two equally good ones
        0: ["", "a dog", "cat"],  # an empty text is not judged
        10: ["", "", ""],
    }

    def __init__(self):
        super().__init__(tokens())
        self.scale = nn.Parameter(torch.ones(1))

    def read(self, inputs):
        raise NotImplementedError

    def hypotheses(self, inputs, beams, max_tokens=None):
        assert beams == 3
        assert inputs.shape[1:] == (3, 2, 2)
        return [self.guesses[round(255 * float(each.mean()))] for each in inputs]


BEST = {50: "five5", 60: "three", 140: "longest of all", 20: "ab", 0: "cat", 10: ""}


def greys(tmp_path):
    for grey in BEST:
        Image.new("RGB", (4, 4), (grey,) * 3).save(tmp_path / f"{grey}.png")
    return [(str(grey), Sample(str(grey), image=ImageRef(str(tmp_path / f"{grey}.png")))) for grey in BEST]


def targets(path):
    return {row["id"]: row["target"] for row in map(json.loads, path.read_text("utf-8").splitlines())}


def test_the_text_that_the_judge_finds_to_fit_best_is_written(tmp_path):
    done = write_table(Describing(), greys(tmp_path), tmp_path / "out.jsonl", 3, None, 4, Judged(Counts().train()))
    assert targets(done.path) == {str(grey): text for grey, text in BEST.items() if text}
    assert (done.texts, done.empty) == (5, 1)


def test_neither_the_texts_of_other_samples_nor_the_batch_change_a_choice(tmp_path):
    samples = greys(tmp_path)
    tables = [
        write_table(Describing(), some, tmp_path / f"{size}.jsonl", 3, None, size, Judged(Counts()))
        for some, size in ((samples, 1), (samples, 6), (samples[::-1], 5))
    ]
    first, *others = (targets(each.path) for each in tables)
    assert all(each == first for each in others)
    alone = [Judged(Counts())("image", [sample], [Describing.guesses[int(name)]]) for name, sample in samples]
    assert alone == [[text] for text in BEST.values()]


def test_beams_of_a_real_captioner_are_judged_as_one_by_one(tmp_path):
    text = tokens("text", 266, 24)
    captioner = Captioner(ConvImage([4, 6], 8), TransformerDecoder(text, 16, layers=1, heads=2), text).eval()
    with torch.no_grad():
        for name, parameter in captioner.named_parameters():
            if parameter.ndim > 1 and "tower" not in name:
                parameter.normal_(std=0.6)
    judge = DualEncoder(ConvImage([6], 12), BagOfTokens(MINILM, 8), 8).eval()
    held = pairs(8)
    done = write_table(captioner, [(each.id, each) for each in held], tmp_path / "out.jsonl", 4, 6, 3, Judged(judge))
    written, changed, prepare = targets(done.path), 0, judge.preprocess
    with torch.no_grad():
        for sample in held:
            texts = captioner.hypotheses(captioner.preprocess.image(sample.image.open())[None], 4, 6)[0]
            medium = judge({"image": prepare.image(sample.image.open())[None]})["image"]
            cosines = {
                each: float(F.cosine_similarity(judge({"text": prepare.text([each])})["text"], medium))
                for each in texts
                if each
            }
            assert written[sample.id] == max(cosines, key=cosines.get)
            changed += written[sample.id] != texts[0]
    assert changed > 1


def test_a_judge_that_fails_halfway_leaves_no_table_and_the_next_writes_all_of_it(tmp_path):
    class Interrupted(Counts):
        calls = 0

        def forward(self, batch):
            self.calls += 1
            if self.calls > 2:
                raise KeyboardInterrupt
            return super().forward(batch)

    samples, place = greys(tmp_path), tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write_table(Describing(), samples, place, 3, None, 2, Judged(Interrupted()))
    assert not list(tmp_path.glob("*jsonl*"))
    write_table(Describing(), samples, place, 3, None, 2, Judged(Counts()))
    assert targets(place) == {str(grey): text for grey, text in BEST.items() if text}


def test_what_cannot_be_judged_is_named(tmp_path):
    pictures = [("one", Sample("one", image=ImageRef("one.png", encoded(1))))]
    phrases = [(each.id, each) for each in Phrases().samples("train")]

    class Looks(Counts):
        preprocess = Preprocess(image=darkness)

    class Reads(Counts):
        preprocess = Preprocess(text=lengths)

    text = tokens("text", 266, 24)
    captioner = Captioner(ConvImage([4], 8), TransformerDecoder(text, 16, layers=1, heads=2), text)
    for model, samples, beams, judge, said in (
        (Describing(), pictures, 3, Looks(), r"judge: its model, Looks, reads image and gives no space that image and"),
        (Describing(), pictures, 3, Reads(), r"judge: its model, Reads, reads text and gives no space that image and"),
        (Describing(), pictures, 3, captioner, r"judge: its model, Captioner, reads image, text and gives no space"),
        (Describing(), pictures, 1, Counts(), r"judge: 1 beam leaves nothing to choose from. Give 2 or more"),
        (translator(), phrases, 3, Counts(), r"judge: given, but the model reads a source, and a judge looks at the"),
    ):
        with pytest.raises(InputError, match=said):
            write_table(model, samples, tmp_path / "out.jsonl", beams, 6, 4, Judged(judge))
    assert not list(tmp_path.iterdir())


def test_one_way_of_choosing_is_given_and_the_judge_is_there(tmp_path):
    assert choice_by(None, None) is None
    (tmp_path / "begun").mkdir()
    for measure, judge, said in (
        ("bleu", "runs/judge", r"nearest: 'bleu' and judge: 'runs/judge' given; each chooses .* Leave one out"),
        ("blue", None, r"nearest: found 'blue'; accepted: bleu, chrf. Did you mean 'bleu'"),
        (None, tmp_path / "begin", r"There is no run '.*begin'. Train it first with `kdmm fit`. Runs in .*: begun"),
        (None, tmp_path / "begun", r"The run '.*begun' is not finished"),
    ):
        with pytest.raises(InputError, match=said):
            choice_by(measure, judge)
