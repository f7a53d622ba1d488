from dataclasses import replace

import pytest
import torch

from kdmm.data import Marked
from kdmm.data.marks import Marks
from kdmm.errors import InputError
from tests.data.files import Held, pairs


class Everywhere:
    def open(self):
        return Marks.of_map(torch.zeros(10, 12, dtype=torch.long))

    def identity(self):
        return "everywhere"


def source(marked=True):
    def some(*args, **settings):
        return [replace(sample, marks=Everywhere() if marked else None) for sample in pairs(*args, **settings)]

    return Held(train=some(60, group=lambda n: f"g{n // 3}" if n < 30 else None), val=some(4, 100), test=some(3, 200))


def marked(samples):
    return {sample.id for sample in samples if sample.marks is not None}


@pytest.mark.parametrize("fraction", [0.01, 0.2, 1])
def test_a_fraction_of_the_concepts_stays_marked(fraction):
    samples = Marked(source(), fraction).samples("train")
    assert [sample.id for sample in samples] == [f"s{n}" for n in range(60)]
    concepts = {sample.group or sample.id for sample in samples if sample.marks is not None}
    assert len(concepts) == max(1, round(fraction * 40))  # 10 groups, and 30 that stand alone
    assert concepts.isdisjoint(sample.group or sample.id for sample in samples if sample.marks is None)


def test_a_larger_fraction_keeps_what_a_smaller_one_keeps_and_the_seed_chooses():
    few, more = (marked(Marked(source(), fraction).samples("train")) for fraction in (0.2, 0.6))
    assert few < more
    assert few != marked(Marked(source(), 0.2, seed=1).samples("train"))


def test_keep_takes_one_of_the_two_sides():
    whole = Marked(source(), 0.3).samples("train")
    sides = [Marked(source(), 0.3, keep=keep).samples("train") for keep in ("marked", "unmarked")]
    assert [[each.id for each in side] for side in sides] == [
        [each.id for each in whole if (each.marks is not None) == has] for has in (True, False)
    ]


@pytest.mark.parametrize("split", ["val", "test"])
def test_other_splits_are_the_sources_own(split):
    held = source()
    for keep in ("all", "marked", "unmarked"):
        assert Marked(held, 0.2, keep=keep).samples(split) == held.samples(split)
    assert Marked(held, 0.2).describe(split) == held.describe(split)


def test_wrong_settings_are_named():
    with pytest.raises(InputError, match=r"Marked\.fraction: 0"):
        Marked(source(), 0)
    with pytest.raises(InputError, match=r"Marked\.source: Held marks nothing"):
        Marked(source(marked=False), 0.5).samples("train")
