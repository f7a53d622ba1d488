from collections import Counter

import pytest

from kdmm.data import Digits, Labelled, Mislabelled
from kdmm.errors import InputError


def labels(source, split="train"):
    return {sample.id: sample.labels["digit"] for sample in source.samples(split)}


def test_a_fraction_gets_any_other_class_and_nothing_else_changes():
    source = Digits(fold=0)
    right, found = labels(source), labels(Mislabelled(source, 0.4, "digit"))
    wrong = {name for name in right if found[name] != right[name]}
    assert list(found) == list(right)
    assert len(wrong) == round(0.4 * len(right))
    steps = Counter((found[name] - right[name]) % 10 for name in wrong)
    expected = len(wrong) / 9
    assert set(steps) == set(range(1, 10))
    assert sum((count - expected) ** 2 / expected for count in steps.values()) < 26.1  # chi-squared of 8, p = 0.001
    for split in ("val", "test"):
        assert labels(Mislabelled(source, 0.4, "digit"), split) == labels(source, split)


def test_a_larger_fraction_mislabels_what_a_smaller_one_does_in_the_same_way():
    source = Digits(fold=0)
    right, few, many = (labels(Mislabelled(source, part, "digit")) for part in (0, 0.1, 0.5))
    assert right == labels(source)
    assert all(many[name] == few[name] for name in few if few[name] != right[name])
    assert labels(Mislabelled(source, 0.1, "digit")) == few
    assert labels(Mislabelled(source, 0.1, "digit", seed=1)) != few


def test_what_has_no_label_gets_none():
    source = Labelled(Digits(fold=0), 0.2, "digit")
    before, after = labels(source), labels(Mislabelled(source, 1, "digit"))
    assert {name for name, label in before.items() if label < 0} == {name for name, label in after.items() if label < 0}
    assert all(after[name] != label for name, label in before.items() if label >= 0)


def test_wrong_settings_are_named():
    with pytest.raises(InputError, match=r"Mislabelled.fraction: 1.5 given; it is a part"):
        Mislabelled(Digits(), 1.5, "digit")
    with pytest.raises(InputError, match=r"Mislabelled.label: .* names no classes of 'label'; it has digit"):
        Mislabelled(Digits(), 0.5)
