from collections import Counter
from itertools import combinations

import pytest

from kdmm.data import MovieReviews, Sentiment
from kdmm.data.movie_reviews import read_reviews
from kdmm.data.near_duplicates import WORD
from kdmm.errors import InputError


@pytest.fixture(scope="module")
def folds():
    return [Sentiment(fold=fold) for fold in range(5)]


def test_reviews_have_the_labels_of_the_file():
    found = {sample.id: sample for split in Sentiment().splits for sample in Sentiment().samples(split)}
    rows = {f"review {review.row}": review for review in read_reviews() if review.corpus == "rotten_tomatoes"}
    assert len(rows) == 8530
    assert set(found) <= set(rows)
    assert len(found) == len({sample.captions for sample in found.values()}) == 8530
    assert len({sample.group for sample in found.values()}) == 8528
    for name, sample in found.items():
        assert sample.captions[0].split() == rows[name].text.split()
        assert sample.labels == {"sentiment": rows[name].label}
    assert Sentiment().class_names("sentiment") == ("negative", "positive")
    praised = next(
        sample for sample in found.values() if "rock is destined to be the 21st century" in sample.captions[0]
    )
    assert praised.labels["sentiment"] == 1


def test_splits_keep_what_is_alike_together_and_test_each_once(folds):
    groups = {split: {sample.group for sample in folds[0].samples(split)} for split in folds[0].splits}
    for one, other in combinations(groups.values(), 2):
        assert not one & other
    tested = Counter(group for source in folds for group in {sample.group for sample in source.samples("test")})
    assert set(tested.values()) == {1}
    assert set(tested) == set.union(*groups.values()) - groups["val"]
    assert folds[1].samples("val") == folds[0].samples("val")
    shares = {split: len(folds[0].samples(split)) / 8530 for split in folds[0].splits}
    assert shares == pytest.approx({"train": 0.704, "val": 0.12, "test": 0.176}, abs=0.002)
    positive = [sample.labels["sentiment"] for sample in folds[0].samples("test")]
    assert 0.45 < sum(positive) / len(positive) < 0.55


def test_no_test_text_is_half_in_a_training_text(folds):
    def shingles(sample):
        words = WORD.findall(sample.captions[0].casefold())
        return {tuple(words[start : start + 5]) for start in range(max(1, len(words) - 4))}

    index = {}
    train = [shingles(sample) for sample in folds[1].samples("train")]
    for place, each in enumerate(train):
        for shingle in each:
            index.setdefault(shingle, []).append(place)
    for sample in [*folds[1].samples("test"), *folds[1].samples("val")]:
        ours = shingles(sample)
        for place in {place for shingle in ours for place in index.get(shingle, ())}:
            assert len(ours & train[place]) < 0.5 * len(ours | train[place]), sample.captions[0]


def test_names_and_settings():
    assert Sentiment().describe("test") == {"source": "Sentiment('rotten_tomatoes')", "fold": 0}
    assert str(Sentiment(None)) == "Sentiment"
    with pytest.raises(InputError, match=r"Sentiment.fold: 7"):
        Sentiment(fold=7)


def test_fragments_of_one_corpus_alone():
    samples = MovieReviews(limit=300, corpus="rotten_tomatoes").samples("train")
    assert min(int(sample.origin.split()[-1]) for sample in samples) > 25_000  # where IMDB's end


@pytest.mark.slow
def test_both_corpora_together_have_the_splits_that_each_has_alone():
    both, imdb = Sentiment(None), Sentiment("imdb")
    for split in both.splits:
        parts = [*imdb.samples(split), *Sentiment().samples(split)]
        assert both.samples(split) == parts
    samples = [sample for split in imdb.splits for sample in imdb.samples(split)]
    assert (len(samples), len({sample.group for sample in samples})) == (24902, 24879)
