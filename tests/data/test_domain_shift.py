import pytest

from kdmm.data import Digits, DomainShift, Emoji, Source
from kdmm.data.sample import Sample
from kdmm.errors import InputError


class Letters(Source):
    """Named letters by split."""

    def __init__(self, classes=("vowel", "consonant"), **splits):
        self.names = classes
        self.given = splits

    @property
    def splits(self):
        return tuple(self.given)

    @property
    def classes(self):
        return {"kind": self.names}

    def read(self, split):
        return [Sample(id=each, captions=(each,), origin=each) for each in self.given[split]]

    def describe(self, split):
        return {**super().describe(split), "letters": "".join(self.given[split])}


def ids(source, split):
    return "".join(sample.id for sample in source.samples(split))


def test_it_trains_on_one_and_measures_on_the_other():
    small, large = Letters(train="abc", val="de", test="f"), Letters(train="AB", val="CD", test="EF")
    source = DomainShift(small, large)
    assert [ids(source, split) for split in source.splits] == ["abc", "CD", "EF"]
    assert source.splits == ("train", "val", "test")
    assert ids(DomainShift(small, large, whole=True), "train") == "abcdef"
    assert ids(DomainShift(large, small, whole=True), "test") == "f"
    assert source.classes == {"kind": ("vowel", "consonant")}
    assert source.describe("val") == {"source": "DomainShift(Letters to Letters)", "letters": "CD"}
    assert source.describe("train")["letters"] == "abc"


def test_what_a_source_lacks_is_not_promised():
    assert DomainShift(Letters(train="a"), Letters(test="B")).splits == ("train", "test")
    assert DomainShift(Letters(val="a"), Letters(train="C", test="B")).splits == ("test",)
    assert DomainShift(Letters(val="a"), Letters(train="C", test="B"), whole=True).splits == ("train", "test")


def test_classes_that_differ_are_refused():
    with pytest.raises(InputError, match=r"number the classes of 'kind' differently: vowel, consonant and consonant"):
        DomainShift(Letters(train="a"), Letters(("consonant", "vowel"), test="B"))
    assert set(DomainShift(Digits(), Emoji()).classes) == {"category"}  # no label of both
