import numpy as np
import pytest

from kdmm.data import Digits
from kdmm.errors import InputError


@pytest.fixture(scope="module")
def digits():
    return Digits()


def test_five_hundred_of_each_class_and_every_digit_once(digits):
    everything = [sample for split in ("train", "val", "test") for sample in digits.samples(split)]
    assert [len(digits.samples(split)) for split in ("train", "val", "test")] == [3520, 600, 880]
    assert len({sample.id for sample in everything}) == 5000
    assert np.bincount([sample.labels["digit"] for sample in everything]).tolist() == [500] * 10


def test_pictures_are_white_on_black_and_differ(digits):
    pictures = [np.asarray(sample.image.open()) for sample in digits.samples("val")[:20]]
    assert all(picture.shape == (28, 28, 3) and picture[0, 0].tolist() == [0, 0, 0] for picture in pictures)
    assert all(picture.max() > 200 for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == 20


def test_each_digit_outside_validation_is_tested_in_one_fold(digits):
    tested = [{sample.id for sample in Digits(fold).samples("test")} for fold in range(5)]
    assert sum(map(len, tested)) == len(set.union(*tested)) == 4400
    validated = [{sample.id for sample in Digits(fold).samples("val")} for fold in (0, 3)]
    assert validated[0] == validated[1]
    assert not validated[0] & set.union(*tested)


@pytest.mark.parametrize("fold", [5, -1])
def test_a_wrong_fold_is_named(fold):
    with pytest.raises(InputError, match=r"Digits.fold"):
        Digits(fold)
