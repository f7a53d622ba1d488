import pytest

from kdmm.data import Digits, Labelled
from kdmm.errors import InputError


@pytest.fixture(scope="module")
def digits():
    return Digits()


def kept(source):
    return {sample.id for sample in source.samples("train") if sample.labels["digit"] >= 0}


def test_a_fraction_keeps_its_label_and_a_larger_one_keeps_these_too(digits):
    few, more = Labelled(digits, 0.1, "digit"), Labelled(digits, 0.2, "digit")
    assert [len(kept(source)) for source in (few, more)] == [352, 704]
    assert kept(few) < kept(more)
    assert kept(Labelled(digits, 0.1, "digit", seed=1)) != kept(few)
    assert [sample.id for sample in few.samples("train")] == [sample.id for sample in digits.samples("train")]


def test_what_is_measured_on_stays_whole(digits):
    few = Labelled(digits, 0.1, "digit")
    assert few.samples("test") == digits.samples("test")
    assert few.describe("test") == digits.describe("test")


def test_wrong_settings_are_named(digits):
    with pytest.raises(InputError, match=r"Labelled\.fraction: 1\.5"):
        Labelled(digits, 1.5)
    with pytest.raises(InputError, match=r"row \d+ has no label 'label'; it has digit"):
        Labelled(digits, 0.001).samples("train")
