import json
from dataclasses import replace
from functools import partial
from math import exp, log
from typing import ClassVar

import pytest
import torch
from PIL import Image
from torch import nn

from kdmm.data import MultimodalDataModule, ParallelTable, Sample
from kdmm.errors import InputError
from kdmm.models import ImageTransform, Preprocess, Writer
from kdmm.runs.choosing import Nearest
from kdmm.runs.generation import free_path, samples_of, write_table
from tests.data.files import Held, pairs
from tests.parallel import PAIRS, Phrases, tokens, translator


def rows(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_each_source_has_a_row_in_the_order_of_the_data(tmp_path):
    model = translator()
    samples = [(each.id, each) for each in Phrases().samples("train")]
    done = write_table(model, samples, tmp_path / "out.jsonl", beams=2, max_tokens=6, batch_size=4)
    alone = [(source, model.translate([source], 2, 6)[0]) for source, _ in PAIRS]
    every = [{"id": f"p{n}", "source": source, "target": text} for n, (source, text) in enumerate(alone)]
    expected = [row for row in every if row["target"]]
    assert rows(done.path) == expected
    assert (done.texts, done.empty) == (len(expected), len(PAIRS) - len(expected))
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]
    read = ParallelTable(done.path, id="id").samples("train")
    assert [(each.id, each.source, each.captions) for each in read] == [
        (row["id"], row["source"], (row["target"],)) for row in expected
    ]


class Counting(Writer):
    """Writes the size of a picture's one number; nothing about a dark one."""

    modality = "image"
    preprocess = Preprocess(image=ImageTransform(2))
    decoder = blank = None

    def __init__(self, tokens):
        super().__init__(tokens)
        self.scale = nn.Parameter(torch.ones(1))

    def read(self, inputs):
        raise NotImplementedError

    def generate(self, inputs, beams=1, max_tokens=None):
        assert inputs.shape[1:] == (3, 2, 2)
        return ["" if each.mean() < 0 else "bright" for each in inputs]


def test_a_model_that_reads_pictures_writes_about_them(tmp_path):
    model = Counting(translator().text)
    samples = []
    for name, colour in (("dark", 0), ("light", 255)):
        Image.new("RGB", (4, 4), (colour,) * 3).save(tmp_path / f"{name}.png")
        samples.append(Sample(name, image=_ref(tmp_path / f"{name}.png"), group="grey"))
    samples.append(Sample("text", captions=("alone",)))
    done = write_table(model, [(each.id, each) for each in samples], tmp_path / "out.jsonl", 1, None, 8)
    assert (done.texts, done.empty) == (1, 1)
    expected = {"id": "light", "image": str(tmp_path / "light.png"), "target": "bright", "group": "grey"}
    assert rows(done.path) == [expected]


def _ref(path):
    from kdmm.data import ImageRef

    return ImageRef(str(path))


def test_an_error_leaves_no_file(tmp_path):
    class Failing(Counting):
        def generate(self, inputs, beams=1, max_tokens=None):
            raise RuntimeError("broken")

    samples = [(each.id, each) for each in pairs(2)]
    with pytest.raises(RuntimeError, match="broken"):
        write_table(Failing(translator().text), samples, tmp_path / "out.jsonl", 1, None, 8)
    bad = Sample("bad", image=_ref(tmp_path / "no.png"), origin="row 7")
    with pytest.raises(InputError, match="row 7: there is no such file"):
        write_table(Counting(translator().text), [("bad", bad)], tmp_path / "out.jsonl", 1, None, 8)
    assert not list(tmp_path.iterdir())


def by_hand(text, own):
    """Smoothed BLEU of one text: runs of up to four words, or of as many as it has, the n-th run without a match half
    of the one before it."""
    ours, theirs = text.split(), own.split()
    precisions, smooth = [], 1.0
    for n in range(1, min(4, len(ours)) + 1):
        runs, others = ([tuple(words[i : i + n]) for i in range(len(words) - n + 1)] for words in (ours, theirs))
        matched = sum(min(runs.count(each), others.count(each)) for each in set(runs))
        smooth *= 1.0 if matched else 2.0
        precisions.append((matched or 1 / smooth) / len(runs))
    if not set(ours) & set(theirs):
        return 0.0
    return min(1.0, exp(1 - len(theirs) / len(ours))) * exp(sum(map(log, precisions)) / len(precisions))


class Guessing(Writer):
    """Has three guesses about each source, the best first."""

    modality = "source"
    decoder = blank = None
    guesses: ClassVar = {
        "uno": ["a red", "the red cat", "the cat"],  # the second is nearest
        "dos": ["a big dog", "dog", "a dog"],  # the third
        "tres": ["far", "away", "off"],  # none has a word of it: the first
        "cuatro": ["one", "two", "three"],  # nobody's text is known: the first
        "cinco": ["", "left", "right"],  # the first says nothing
        "seis": ["", "left", "right"],  # and nothing is left out here
    }

    def __init__(self):
        super().__init__(tokens())
        self.scale = nn.Parameter(torch.ones(1))

    @property
    def preprocess(self):
        return Preprocess(source=self.text, text=self.text)

    def read(self, inputs):
        raise NotImplementedError

    def hypotheses(self, inputs, beams, max_tokens=None):
        assert beams == 3
        return [self.guesses[source] for source in self.text.decode(inputs)]


OWN = {
    "uno": ("the red cat sat",),
    "dos": ("a dog",),
    "tres": ("near",),
    "cuatro": (),
    "cinco": ("right",),
    "seis": (),
}


def test_of_several_texts_the_nearest_to_a_samples_own_is_written(tmp_path):
    samples = [(name, Sample(name, source=name, captions=own)) for name, own in OWN.items()]
    done = write_table(Guessing(), samples, tmp_path / "out.jsonl", 3, None, 2, Nearest("bleu"))
    expected = {
        name: max(each, key=lambda text: max((by_hand(text, own) for own in OWN[name]), default=0.0))
        for name, each in Guessing.guesses.items()
    }
    assert expected == {
        "uno": "the red cat", "dos": "a dog", "tres": "far", "cuatro": "one", "cinco": "right", "seis": "",
    }  # fmt: skip
    assert {row["id"]: row["target"] for row in rows(done.path)} == {k: v for k, v in expected.items() if v}
    assert (done.texts, done.empty) == (5, 1)


@pytest.mark.parametrize("measure", ["bleu", "chrf"])
def test_a_models_own_beams_are_what_is_chosen_from(tmp_path, measure):
    from sacrebleu import sentence_bleu, sentence_chrf

    score = {"bleu": partial(sentence_bleu, use_effective_order=True), "chrf": sentence_chrf}[measure]
    model = translator()
    held = Phrases().samples("train")
    own = {sample.id: sample.captions for sample in held}
    for sample in held[::2]:  # a text that only the last of the beams gives
        own[sample.id] = (model.hypotheses(model.source([sample.source]), 3, 6)[0][-1] or "x",)
    samples = [(each.id, replace(each, captions=own[each.id])) for each in held]
    done = write_table(model, samples, tmp_path / "out.jsonl", 3, 6, 4, Nearest(measure))
    written = {row["id"]: row["target"] for row in rows(done.path)}
    changed = 0
    for sample in held:
        texts = model.hypotheses(model.source([sample.source]), 3, 6)[0]
        scores = [score(text, list(own[sample.id])).score for text in texts]
        assert written.get(sample.id, "") == texts[scores.index(max(scores))]
        changed += written.get(sample.id, "") != model.translate([sample.source], 3, 6)[0]
    assert changed > 1


def test_what_leaves_nothing_to_choose_from_is_named(tmp_path):
    known = [(each.id, each) for each in Phrases().samples("train")]
    unknown = [(name, replace(each, captions=())) for name, each in known]
    for samples, beams, measure, said in (
        (known, 2, "blue", r"nearest: found 'blue'; accepted: bleu, chrf. Did you mean 'bleu'"),
        (known, 1, "bleu", r"nearest: 1 beam leaves nothing to choose from. Give 2 or more \(--beams\)"),
        (unknown, 2, "chrf", r"nearest: 'chrf' given, but none of the 6 samples has a text"),
    ):
        with pytest.raises(InputError, match=said):
            write_table(translator(), samples, tmp_path / "out.jsonl", beams, 6, 4, Nearest(measure))
    assert not list(tmp_path.iterdir())


def test_of_the_train_split_all_sources_are_read_and_ids_tell_them_apart():
    one = Held(train=Phrases().samples("train")[:2], val=Phrases().samples("train")[2:3])
    data = MultimodalDataModule({"gold": one, "more": Held(train=Phrases().samples("train")[1:3])}, 1)
    assert [name for name, _ in samples_of(data, "train")] == ["gold/p0", "gold/p1", "more/p1", "more/p2"]
    assert [name for name, _ in samples_of(data, "val")] == ["gold/p2"]
    assert [name for name, _ in samples_of(MultimodalDataModule(one, 1), "train")] == ["p0", "p1"]
    with pytest.raises(InputError, match="split: the data have no test split, but train, val"):
        samples_of(data, "test")
    with pytest.raises(InputError, match="data: Linear gives no list of its samples"):
        samples_of(nn.Linear(1, 1), "train")


def test_where_it_is_written_is_checked_first(tmp_path):
    (tmp_path / "there.jsonl").write_text("")
    for path, said in (
        (tmp_path / "there.jsonl", "output: .*there.jsonl exists. Remove it, or give another file with --output"),
        (tmp_path / "out.csv", r"output: .*ends in '.csv'; the table is written as .jsonl"),
        (tmp_path / "no" / "out.jsonl", "output: there is no folder .*no'"),
    ):
        with pytest.raises(InputError, match=said):
            free_path(path)
    assert free_path(tmp_path / "new.jsonl") == tmp_path / "new.jsonl"


def test_what_does_not_write_or_is_not_read_is_named(tmp_path):
    samples = [(each.id, each) for each in pairs(1)]
    with pytest.raises(InputError, match="The run's model, Linear, does not write"):
        write_table(nn.Linear(1, 1), samples, tmp_path / "out.jsonl", 1, None, 8)
    with pytest.raises(InputError, match="No sample of the data has a source"):
        write_table(translator(), samples, tmp_path / "out.jsonl", 1, None, 8)
    with pytest.raises(InputError, match="batch_size: 0 given"):
        write_table(translator(), samples, tmp_path / "out.jsonl", 1, None, 0)
