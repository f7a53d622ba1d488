import pickle

import pytest
import sacrebleu
import torch
from torch import nn

from kdmm.distributed import rank
from kdmm.errors import InputError
from kdmm.metrics import Translation
from kdmm.metrics.written import WrittenMetric
from tests import two_processes
from tests.losses.data import flags

WRITTEN = ["the cat sat on the mat", "a dog", "it rains and rains today", "home", "été à la mer"]
REFERENCES = [
    ("the cat sat on a mat", "there is a cat on the mat"),
    ("a small dog",),
    ("it rains today", "today there is much rain", "rain"),
    ("home",),
    ("été près de la mer",),
]
IDS = list("abcde")


class Writer(nn.Module):
    """Writes the line whose number it reads, and the beams and tokens if it is asked to tell them."""

    modality = "source"

    def __init__(self, lines=WRITTEN, telling=False):
        super().__init__()
        self.lines, self.telling = lines, telling

    def generate(self, inputs, beams=1, max_tokens=None):
        if self.telling:
            return [f"{beams} {max_tokens}" for _ in inputs]
        return [self.lines[number] for number in inputs[:, 0].tolist()]


def batch(rows, role="student", **more):
    part = {"source": torch.tensor(rows)[:, None], "present/source": torch.ones(len(rows), dtype=torch.bool)}
    made = {"id": [IDS[row] for row in rows], "captions": [REFERENCES[row] for row in rows], role: part}
    return {**made, "caption": [REFERENCES[row][0] for row in rows], **more}


def measured(metric, *batches, student=None, teacher=None):
    metric.look_at(Writer() if student is None else student, teacher)
    for each in batches:
        metric.update({}, {}, each)
    return {name: float(value) for name, value in metric.compute().items()}


def by_sacrebleu(written, references):
    most = max(map(len, references))
    streams = [[own[n] if n < len(own) else None for own in references] for n in range(most)]
    return {
        "bleu": sacrebleu.corpus_bleu(written, streams).score / 100,
        "chrf": sacrebleu.corpus_chrf(written, streams).score / 100,
    }


def test_it_is_sacrebleus_over_the_whole_corpus():
    found = measured(Translation(), batch([0, 1, 2]), batch([3, 4]))
    assert found == pytest.approx(by_sacrebleu(WRITTEN, REFERENCES))
    assert 0 < found["bleu"] < found["chrf"] < 1
    sentences = [by_sacrebleu([text], [own])["bleu"] for text, own in zip(WRITTEN, REFERENCES, strict=True)]
    assert found["bleu"] != pytest.approx(sum(sentences) / 5, abs=0.01)  # which a mean over sentences is not


def test_what_is_right_has_1_and_what_is_wrong_0():
    right = measured(Translation(), batch([0, 2]), student=Writer([own[0] for own in REFERENCES]))
    assert right == pytest.approx({"bleu": 1, "chrf": 1})
    assert measured(Translation(), batch([0, 2]), student=Writer(["1234"] * 5)) == {"bleu": 0, "chrf": 0}
    assert measured(Translation(), batch([0, 2]), student=Writer([""] * 5)) == {"bleu": 0, "chrf": 0}


def test_the_one_caption_is_the_reference_of_a_batch_without_all_of_them():
    made = batch([0, 1, 2, 3, 4])
    del made["captions"]
    assert measured(Translation(), made) == pytest.approx(by_sacrebleu(WRITTEN, [own[:1] for own in REFERENCES]))


def test_only_samples_with_source_and_reference_count_and_each_once():
    made = batch([0, 1, 2])
    made["id"] += ["a", "d", "e"]  # a further caption's row of a, a text alone, a source alone
    made["captions"] += [REFERENCES[0], ("alone",), ()]
    made["caption"] += ["x", "alone", None]
    made["student"] = {"source": torch.tensor([0, 1, 2, 4])[:, None], "present/source": flags("111001")}
    again = batch([2, 0])
    expected = pytest.approx(by_sacrebleu(WRITTEN[:3], REFERENCES[:3]))
    assert measured(Translation(), made, again) == expected
    texts_alone = {"id": ["z"], "caption": ["z"], "captions": [("z",)], "student": {"present/source": flags("0")}}
    assert measured(Translation(), texts_alone, made) == expected
    made["student"]["source"] = made["student"]["source"].flip(0)
    assert measured(Translation(), made) != expected


def test_a_teacher_in_training_stands_where_the_student_does():
    expected = pytest.approx(by_sacrebleu(WRITTEN[:2], REFERENCES[:2]))
    assert measured(Translation(), batch([0, 1], "teacher")) == expected
    both = {**batch([0, 1]), "teacher": batch([2, 3])["student"]}
    assert measured(Translation(), both) == expected
    with pytest.raises(InputError, match=r"Translation reads 'teacher' from the batch"):
        measured(Translation("teacher"), batch([0]), teacher=Writer())


def test_chinese_is_cut_into_characters():
    writer = Writer(["我喜欢猫和狗"])
    made = {**batch([0]), "captions": [("我喜欢猫和鸟",)]}
    assert measured(Translation(tokenize="zh"), made, student=writer)["bleu"] == pytest.approx(
        sacrebleu.corpus_bleu(writer.lines, [["我喜欢猫和鸟"]], tokenize="zh").score / 100
    )
    assert measured(Translation(), made, student=writer)["bleu"] == 0


def test_names_tell_whose_texts_and_how_they_were_found():
    assert measured(Translation("teacher"), batch([0], "teacher"), teacher=Writer()).keys() == {
        "teacher/bleu",
        "teacher/chrf",
    }
    assert measured(Translation(beams=4), batch([0])).keys() == {"beam4/bleu", "beam4/chrf"}


class Told(WrittenMetric):
    """Gives what was written instead of a score of it."""

    def scores(self, written, references):
        self.told = list(zip(written, map(tuple, references), strict=True))
        return {"texts": float(len(written))}


def test_beams_and_tokens_reach_the_model_and_a_wrapper_is_looked_through():
    metric = Told(beams=3, max_tokens=7)
    wrapped = nn.Module()
    wrapped.model = Writer(telling=True)
    assert measured(metric, batch([1, 4]), student=wrapped) == {"beam3/texts": 2}
    assert sorted(metric.told) == [("3 7", REFERENCES[1]), ("3 7", REFERENCES[4])]


def test_texts_of_any_letters_are_kept_whole():
    lines = ["", '\u2028 "quoted"\n', "👩🏽‍🚒", "日本", "a\x00b"]
    metric = Told()
    assert measured(metric, batch([0, 1]), batch([2, 3, 4]), student=Writer(lines)) == {"texts": 5}
    assert sorted(metric.told) == sorted(zip(lines, REFERENCES, strict=True))
    metric.reset()
    assert measured(metric, batch([3]), student=Writer(lines)) == {"texts": 1}
    pickle.loads(pickle.dumps(metric))  # without its model


def test_what_cannot_be_measured_is_explained():
    with pytest.raises(InputError, match=r"Translation has seen no sample that the student reads"):
        measured(Translation(), {"id": ["z"], "caption": [None], "student": {"present/source": flags("0")}})
    with pytest.raises(InputError, match=r"Translation.role: the student, Linear, does not write. Take a model that"):
        measured(Translation(), batch([0]), student=nn.Linear(1, 1))
    with pytest.raises(InputError, match=r"Translation.role: 'teacher', but there is no single running teacher"):
        measured(Translation("teacher"), batch([0], "teacher"))
    with pytest.raises(InputError, match=r"Translation.beams: 0 given"):
        Translation(beams=0)


def parts():
    """Rank 1 has one sample of rank 0 again in one metric, and nothing in the other."""
    rows = {"shared": ([0, 1, 2], [3, 4, 0]), "one": ([0, 1, 2, 3, 4], [])}
    return {
        name: measured(Translation(), *([batch(each[rank()])] if each[rank()] else [])) for name, each in rows.items()
    }


def test_all_ranks_have_the_value_of_one_process(tmp_path):
    for found in two_processes.run(parts, tmp_path):
        for name in ("shared", "one"):
            assert found[name] == pytest.approx(by_sacrebleu(WRITTEN, REFERENCES)), name
