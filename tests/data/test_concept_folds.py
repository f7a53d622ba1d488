from collections import Counter

import pytest

from kdmm.data.concept_folds import FOLDS, VALIDATION_SHARE, check_fold, deal, split_of
from kdmm.errors import InputError

SIZES = {f"concept {number}": 1 + number**2 % 7 for number in range(200)}


def test_each_concept_has_one_place_and_the_folds_are_nearly_equal():
    places = deal(SIZES, "salt")
    assert set(places) == set(SIZES)
    concepts = Counter(places.values())
    samples = Counter()
    for concept, place in places.items():
        samples[place] += SIZES[concept]
    assert concepts.pop("val") == round(VALIDATION_SHARE * len(SIZES))
    samples.pop("val")
    assert set(concepts) == set(range(FOLDS))
    assert max(concepts.values()) - min(concepts.values()) <= 1
    assert max(samples.values()) - min(samples.values()) <= max(SIZES.values())


def test_places_depend_on_the_salt_alone_and_not_on_the_order():
    assert deal(dict(reversed(SIZES.items())), "salt") == deal(SIZES, "salt")
    assert deal(SIZES, "other") != deal(SIZES, "salt")


def test_a_concept_is_tested_in_one_fold_and_validated_in_all():
    for place in deal(SIZES, "salt").values():
        splits = [split_of(place, fold) for fold in range(FOLDS)]
        if place == "val":
            assert splits == ["val"] * FOLDS
        else:
            assert splits.count("test") == 1
            assert splits[place] == "test"
            assert splits.count("train") == FOLDS - 1


@pytest.mark.parametrize("fold", [-1, FOLDS])
def test_a_wrong_fold_names_its_setting(fold):
    with pytest.raises(InputError, match=f"Emoji.fold: {fold} given; the folds are 0 to 4"):
        check_fold(fold, "Emoji.fold")
