import random

import numpy as np
import pytest

from kdmm.analysis.floors import accuracy_floor, first_hit, retrieval_floor
from kdmm.errors import InputError

CAPTIONS = [("a",), ("a", "b"), ("c",), ("d", "e"), ("f",), ("b",), ("g",), ("h",)]
BANDS = {"band": np.array([0, 0, 0, 1, 1, 0, 1, 1])}


def simulated(known, depth, rounds, seed):
    """Rankings drawn one by one: what agrees before what does not, equal captions together, else by lot."""
    draw = random.Random(seed)
    band = BANDS["band"].tolist() if known else [0] * len(CAPTIONS)
    of_caption = {caption: band[row] for row, some in enumerate(CAPTIONS) for caption in some}
    gallery = [caption for some in CAPTIONS for caption in some]
    to_text = from_text = 0
    for _ in range(rounds):
        lot = {caption: draw.random() for caption in of_caption}
        for row, own in enumerate(CAPTIONS):
            ranked = sorted(gallery, key=lambda c, row=row: (of_caption[c] != band[row], lot[c]))
            to_text += any(caption in own for caption in ranked[:depth])
        chances = [draw.random() for _ in CAPTIONS]
        for caption in gallery:
            order = sorted(range(len(CAPTIONS)), key=lambda r, c=caption: (band[r] != of_caption[c], chances[r]))
            from_text += any(caption in CAPTIONS[row] for row in order[:depth])
    return to_text / rounds / len(CAPTIONS), from_text / rounds / len(gallery)


@pytest.mark.parametrize("known", [[], ["band"]])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_floor_is_what_a_guesser_reaches_in_the_mean(known, depth):
    found = retrieval_floor(CAPTIONS, BANDS, known, k=[depth])
    # a wrong caption that several samples have takes as many places, as in the metric; the right one's first counts
    to_text, from_text = simulated(known, depth, 20_000, seed=0)
    assert found[f"to_text/recall@{depth}"] == pytest.approx(to_text, abs=0.01)
    assert found[f"from_text/recall@{depth}"] == pytest.approx(from_text, abs=0.01)
    assert found[f"recall@{depth}"] == pytest.approx(
        (found[f"to_text/recall@{depth}"] + found[f"from_text/recall@{depth}"]) / 2
    )


def test_chance_with_one_item_each_is_the_closed_form():
    """1 - C(W, k) / C(W + R, k), of 3 right among 20 at 5."""
    expected = 1 - np.prod([(17 - i) / (20 - i) for i in range(5)])
    assert first_hit(3, [1] * 17, 5) == pytest.approx(expected)
    assert first_hit(1, [], 1) == 1


def test_knowing_everything_that_captions_say_finds_the_caption():
    captions = [(str(n),) for n in range(6)]
    attributes = {"which": np.arange(6)}
    assert retrieval_floor(captions, attributes, ["which"])["recall@1"] == 1
    assert retrieval_floor(captions, attributes)["recall@1"] == pytest.approx(1 / 6)


def test_the_accuracy_of_naming_the_most_frequent_class():
    target = np.array([0, 0, 1, 2, 2, 2])
    side = {"side": np.array([0, 0, 0, 0, 1, 1])}
    assert accuracy_floor(target, side, k=[1, 2]) == {"top1": 3 / 6, "top2": 5 / 6}
    assert accuracy_floor(target, side, ["side"], k=[1, 2]) == {"top1": 4 / 6, "top2": 5 / 6}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: retrieval_floor([("a",), ("a",)], {"x": np.arange(2)}, ["x"]), "said of samples that differ in x"),
        (lambda: retrieval_floor([("a",)], {"pitch": np.zeros(1, int)}, ["pich"]), "no attribute 'pich'.*pitch"),
        (lambda: retrieval_floor([()], {}), "a sample has no caption"),
        (lambda: accuracy_floor(np.zeros(0, int), {}), "there are no samples"),
    ],
)
def test_what_cannot_be_guessed_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
