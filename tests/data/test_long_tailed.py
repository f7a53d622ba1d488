from collections import Counter

import pytest

from kdmm.data import ClassCounts, Digits, LongTailed
from kdmm.errors import InputError
from tests.data.files import Held, pairs


@pytest.mark.parametrize("ratio", [1, 10, 100])
def test_each_class_keeps_its_share_of_an_exponential_tail(ratio):
    whole = Counter(sample.labels["digit"] for sample in Digits().samples("train"))
    tail = LongTailed(Digits(), ratio, "digit")
    kept = Counter(sample.labels["digit"] for sample in tail.samples("train"))
    assert kept == {digit: max(1, round(n * ratio ** (-digit / 9))) for digit, n in whole.items()}
    assert ClassCounts(tail, "digit") == [kept[digit] for digit in range(10)]


def test_a_longer_tail_is_a_part_of_a_shorter_one_in_the_same_order_and_the_seed_chooses():
    short, long, other = (
        [sample.id for sample in LongTailed(Digits(), ratio, "digit", seed).samples("train")]
        for ratio, seed in ((10, 0), (100, 0), (100, 1))
    )
    assert [id for id in short if id in set(long)] == long
    assert long != other


@pytest.mark.parametrize("split", ["val", "test"])
def test_other_splits_stay_balanced(split):
    assert LongTailed(Digits(), 50, "digit").samples(split) == Digits().samples(split)


def test_what_cannot_be_is_named():
    with pytest.raises(InputError, match=r"LongTailed.ratio: 0.5 given"):
        LongTailed(Digits(), 0.5)
    with pytest.raises(InputError, match=r"LongTailed.label: .* has no label 'kind'; it has none"):
        LongTailed(Held(train=pairs(3)), 2, "kind").samples("train")
