import math
import pickle
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchmetrics.functional.text import bleu_score
from torchmetrics.functional.text.rouge import rouge_score

from kdmm.distributed import rank
from kdmm.errors import InputError
from kdmm.metrics import Captioning, CaptionRetrieval
from kdmm.metrics.functional.captions import cider_d, rouge_l, words
from kdmm.models import Preprocess
from kdmm.teachers import Frozen
from tests import two_processes
from tests.losses.data import flags

WRITTEN = ["the cat sat on the mat", "a dog", "It rains, and rains today.", "home", "", "a red bus on a road"]
REFERENCES = [
    ("the cat sat on a mat", "there is a cat on the mat"),
    ("a small dog",),
    ("it rains today", "today there is much rain", "rain"),
    ("home",),
    ("nothing to see",),
    ("a bus on the red road", "the bus is red"),
]
IDS = list("abcdef")


class Writer(nn.Module):
    """Writes the line whose number it reads."""

    modality = "image"

    def __init__(self, lines=WRITTEN):
        super().__init__()
        self.lines = lines

    def generate(self, inputs, beams=1, max_tokens=None):
        return [self.lines[number] for number in inputs[:, 0].tolist()]


def batch(rows, role="student"):
    part = {"image": torch.tensor(rows)[:, None], "present/image": torch.ones(len(rows), dtype=torch.bool)}
    made = {"id": [IDS[row] for row in rows], "captions": [REFERENCES[row] for row in rows], role: part}
    return {**made, "caption": [REFERENCES[row][0] for row in rows]}


def measured(metric, *batches, student=None, teacher=None):
    metric.look_at(Writer() if student is None else student, teacher)
    for each in batches:
        metric.update({}, {}, each)
    return {name: float(value) for name, value in metric.compute().items()}


def runs(text, n):
    each = text.lower().replace(",", "").replace(".", "").split()
    return [tuple(each[at : at + n]) for at in range(len(each) - n + 1)]


def cider_oracle(written, references):
    """CIDEr-D with a vector over the whole vocabulary for each length, as the paper writes it."""
    found = []
    for text, own in zip(written, references, strict=True):
        total = 0.0
        for other in own:
            for n in (1, 2, 3, 4):
                every = sorted({run for each in (*written, *sum(references, ())) for run in runs(each, n)})
                idf = []
                for run in every:
                    having = sum(any(run in runs(each, n) for each in some) for some in references)
                    idf.append(math.log(len(references) / max(1, having)))
                u = [runs(text, n).count(run) * w for run, w in zip(every, idf, strict=True)]
                v = [runs(other, n).count(run) * w for run, w in zip(every, idf, strict=True)]
                norm = math.sqrt(sum(x * x for x in u)) * math.sqrt(sum(x * x for x in v))
                if norm:
                    dot = sum(min(x, y) * y for x, y in zip(u, v, strict=True))
                    apart = max(0, len(runs(text, 1)) - 1) - max(0, len(runs(other, 1)) - 1)
                    total += dot / norm * math.exp(-(apart**2) / 72) / 4
        found.append(10 * total / len(own))
    return found


def subsequence(one, other):
    """The longest common subsequence, over all subsets of one's words."""
    best = 0
    for chosen in range(2 ** len(one)):
        picked = [word for at, word in enumerate(one) if chosen >> at & 1]
        rest = iter(other)
        if len(picked) > best and all(word in rest for word in picked):
            best = len(picked)
    return best


def test_words_have_neither_case_nor_punctuation():
    assert words("A dog's life -- 2 cats, RUN!") == ["a", "dog's", "life", "2", "cats", "run"]
    assert words(" ... ") == []
    assert words("Été à l'eau") == ["été", "à", "l'eau"]


def test_cider_is_the_papers_in_loops():
    found = cider_d(WRITTEN, REFERENCES)
    assert found == pytest.approx(cider_oracle(WRITTEN, REFERENCES))
    assert found[4] == 0
    assert 0 < found[1] < found[3]


def test_cider_in_closed_form():
    # all words are of one sample alone, so all weights are log 3: a right caption of n words has min(n, 4) / 4 of 10
    right = ["a b c d e", "f g h", "k"]
    assert cider_d(right, [(each,) for each in right]) == pytest.approx([10, 7.5, 2.5])
    # unigrams alone: <min, g> / norms = 1 / sqrt(2), and one pair of words apart
    assert cider_d(["a", "c"], [("a b",), ("c",)])[0] == pytest.approx(2.5 / math.sqrt(2) * math.exp(-1 / 72))
    # a word that comes three times counts once, where the reference has it once; its norm is of three
    assert cider_d(["a a a", "c"], [("a",), ("c",)])[0] == pytest.approx(2.5 * 1 / 3 * math.exp(-4 / 72))
    assert cider_d(["a b"], [("a b",)]) == [0]  # of a single sample no word is rare
    assert cider_d(["a b", "a c"], [("a d",), ("a e",)]) == [0, 0]  # what every sample has weighs nothing


def test_rouge_is_of_the_longest_common_subsequence():
    found = rouge_l(WRITTEN, REFERENCES)
    for text, own, value in zip(WRITTEN, REFERENCES, found, strict=True):
        ours = words(text)
        common = {each: subsequence(ours, words(each)) for each in own}
        precision = max(number / max(1, len(ours)) for number in common.values())
        recall = max(number / len(words(each)) for each, number in common.items())
        expected = (1 + 1.44) * precision * recall / (recall + 1.44 * precision) if precision else 0
        assert value == pytest.approx(expected)
    assert rouge_l(["a b c d"], [("a c",)]) == pytest.approx([2.44 * 0.5 * 1 / (1 + 1.44 * 0.5)])


def test_precision_and_recall_of_rouge_are_torchmetrics():
    for text, own in zip(WRITTEN, REFERENCES, strict=True):
        theirs = rouge_score(" ".join(words(text)), " ".join(words(own[0])), rouge_keys="rougeL")
        p, r = (float(theirs[f"rougeL_{name}"]) for name in ("precision", "recall"))
        expected = 2.44 * p * r / (r + 1.44 * p) if p else 0
        assert rouge_l([text], [own[:1]]) == pytest.approx([expected], rel=1e-5)


def expected(rows):
    written, references = [WRITTEN[row] for row in rows], [REFERENCES[row] for row in rows]
    cut = [" ".join(words(text)) for text in written]
    cut_references = [[" ".join(words(text)) for text in own] for own in references]
    return {
        "cider_d": sum(cider_oracle(written, references)) / len(rows),
        "bleu4": float(bleu_score(cut, cut_references)),
        "bleu1": float(bleu_score(cut, cut_references, n_gram=1)),
        "rouge_l": sum(rouge_l(written, references)) / len(rows),
    }


def test_all_captions_are_measured_together_and_each_once():
    found = measured(Captioning(), batch([0, 1, 2]), batch([3, 4, 5, 1]))
    assert found == pytest.approx(expected(range(6)))
    assert 0 < found["bleu4"] < found["bleu1"] < 1
    halves = [measured(Captioning(), batch(rows))["cider_d"] for rows in ([0, 1, 2], [3, 4, 5])]
    assert found["cider_d"] != pytest.approx(sum(halves) / 2, abs=0.01)  # words are rare among all samples


def test_bleu_in_closed_form():
    lines = ["a b c d e", "f g h i"]
    writer = Writer(lines)
    made = {**batch([0, 1]), "captions": [("a b c d x",), ("f g h i",)]}
    found = measured(Captioning(), made, student=writer)
    # matches of 1 to 4 words: 8 of 9, 6 of 7, 4 of 5, 2 of 3; lengths are equal
    assert found["bleu4"] == pytest.approx((8 / 9 * 6 / 7 * 4 / 5 * 2 / 3) ** 0.25)
    assert found["bleu1"] == pytest.approx(8 / 9)
    short = {**batch([0]), "captions": [("a b c d e f g h i j",)]}
    assert measured(Captioning(), short, student=writer)["bleu4"] == pytest.approx(math.exp(1 - 10 / 5))
    # lengths of 4 and 6 are equally near: the shorter counts, in any order, so nothing is taken off
    for references in (("a b c d e f", "a b c d"), ("a b c d", "a b c d e f")):
        made = {**batch([0]), "captions": [references]}
        assert measured(Captioning(), made, student=writer)["bleu1"] == pytest.approx(1)


def test_right_captions_have_the_most_and_wrong_ones_nothing():
    lines = ["one two three four", "five six seven eight"]
    made = {**batch([0, 1]), "captions": [(line,) for line in lines]}
    assert measured(Captioning(), made, student=Writer(lines)) == pytest.approx(
        {"cider_d": 10, "bleu4": 1, "bleu1": 1, "rouge_l": 1}
    )
    for wrong in (["1 2 3 4"] * 2, [""] * 2):
        assert set(measured(Captioning(), made, student=Writer(wrong)).values()) == {0}


PLACES = ("mat", "dog", "rains", "home", "nothing", "bus")


def picture(number):
    return torch.tensor(float(number))


def numbers(texts):
    """The number of each text's first known word; 9 if there is none."""
    where = [[place for place, word in enumerate(PLACES) if word in text.lower()] for text in texts]
    return torch.tensor([each[0] if each else 9 for each in where])


class Judge(nn.Module):
    """Embeds a number as a direction."""

    preprocess = Preprocess(image=picture, text=numbers)

    def __init__(self):
        super().__init__()
        self.angle = nn.Parameter(torch.tensor(0.5))

    def forward(self, batch):
        assert not torch.is_grad_enabled()
        assert not self.training
        angles = {name: rows * self.angle for name, rows in batch.items()}
        return {name: 2 * torch.stack([each.cos(), each.sin()], 1) for name, each in angles.items()}


class Numbers:
    """A source whose pictures are numbers."""

    splits = ("val", "test")

    def samples(self, split):
        rows = (0, 1) if split == "val" else (2, 3, 4, 5)
        return [
            SimpleNamespace(id=IDS[row], media={"image": SimpleNamespace(open=lambda row=row: row)}) for row in rows
        ]

    def __str__(self):
        return "Numbers"


def retrieval(**settings):
    return CaptionRetrieval(Judge(), Numbers(), k=[1, 2], **settings)


def judged(lines, rows=range(6)):
    """Ranks and scores in loops."""
    found, scores = [], []
    for row in rows:
        number = int(numbers([lines[row]]))
        cosines = {other: math.cos(0.5 * (number - other)) for other in rows}
        found.append(1 + sum(cosine >= cosines[row] for other, cosine in cosines.items() if other != row))
        scores.append(max(0, cosines[row]))
    ordered = sorted(found)
    count = len(found)
    return {
        "recall@1": sum(each <= 1 for each in found) / count,
        "recall@2": sum(each <= 2 for each in found) / count,
        "median_rank": (ordered[(count - 1) // 2] + ordered[count // 2]) / 2,
        "score": sum(scores) / count,
    }


def expected_retrieval(rows=range(6)):
    ours, people = judged(WRITTEN, rows), judged([own[0] for own in REFERENCES], rows)
    return {f"own_caption/{name}": value for name, value in ours.items()} | {
        f"own_caption/people/{name}": value for name, value in people.items()
    }


def test_a_caption_must_find_its_picture_among_all():
    found = measured(retrieval(), batch([0, 1, 2]), batch([3, 4, 5, 1]))
    assert found == pytest.approx(expected_retrieval())
    assert found["own_caption/people/recall@1"] == 1
    assert found["own_caption/people/score"] == pytest.approx(1)
    assert found["own_caption/recall@1"] == pytest.approx(5 / 6)  # nothing was written about one
    assert measured(retrieval(), batch([2, 5])) == pytest.approx(expected_retrieval([2, 5]))


def test_captions_that_are_all_alike_find_nothing():
    found = measured(retrieval(), batch(range(6)), student=Writer(["no word that is known"] * 6))
    assert found["own_caption/recall@1"] == pytest.approx(1 / 6)  # the picture that is nearest to any text
    assert found["own_caption/people/recall@1"] == 1


def test_the_names_tell_whose_captions_and_ids_may_have_their_sources_name():
    made = batch([0, 1], "teacher")
    made["id"] = [f"pairs/{each}" for each in made["id"]]
    found = measured(retrieval(role="teacher", beams=2), made, teacher=Writer())
    assert all(name.startswith("teacher/beam2/own_caption/") for name in found)


def test_the_judge_is_neither_trained_nor_kept():
    frozen = CaptionRetrieval(Frozen(Judge()), Numbers(), k=[1, 2])
    metric = retrieval()
    assert measured(metric, batch([0, 1])) == measured(frozen, batch([0, 1]))
    assert not list(metric.parameters())
    assert not metric.state_dict()
    again = pickle.loads(pickle.dumps(metric))  # without what it has opened, and without the models
    assert measured(again, batch([2, 5]))["own_caption/recall@2"] == 1


def test_what_cannot_be_judged_is_named():
    with pytest.raises(InputError, match=r"CaptionRetrieval.judge: its model, Judge, .* no space that audio and text"):
        retrieval(modality="audio")
    writer = Writer()
    writer.preprocess = Judge.preprocess  # reads both, to write
    for judge in (writer, Frozen(writer)):
        with pytest.raises(InputError, match=r"CaptionRetrieval.judge: its model, Writer, reads image, text"):
            CaptionRetrieval(judge, Numbers())
    made = {**batch([0]), "id": ["zz"]}
    with pytest.raises(InputError, match=r"CaptionRetrieval.media: Numbers has no image of the sample 'zz'. Give the"):
        measured(retrieval(), made)
    with pytest.raises(InputError, match=r"CaptionRetrieval has seen no sample that the student reads"):
        measured(retrieval(), {"id": ["z"], "caption": [None], "student": {"present/image": flags("0")}})
    with pytest.raises(InputError, match=r"CaptionRetrieval.k"):
        CaptionRetrieval(Judge(), Numbers(), k=[])


def parts():
    """Rank 1 has one sample of rank 0 again in one case, and nothing in the other."""
    rows = {"shared": ([0, 1, 2], [3, 4, 5, 0]), "one": ([0, 1, 2, 3, 4, 5], [])}
    kinds = {"captions": Captioning, "retrieval": retrieval}
    return {
        f"{name} {kind}": measured(make(), *([batch(each[rank()])] if each[rank()] else []))
        for name, each in rows.items()
        for kind, make in kinds.items()
    }


def test_all_ranks_have_the_values_of_one_process(tmp_path):
    wanted = {"captions": expected(range(6)), "retrieval": expected_retrieval()}
    for found in two_processes.run(parts, tmp_path):
        for name, values in found.items():
            assert values == pytest.approx(wanted[name.split()[1]]), name
