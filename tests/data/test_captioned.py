import pytest

from kdmm.data import Captioned, Emoji
from kdmm.errors import InputError
from tests.data.files import Held, pairs, texts
from tests.parallel import Phrases


def source():
    return Held(train=pairs(90, group=lambda n: f"g{n // 3}"), val=pairs(6, 100), test=pairs(3, 200))


def captioned_groups(samples):
    return {sample.group for sample in samples if sample.captions}


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 1.0])
def test_a_fraction_of_the_groups_keeps_its_captions(fraction):
    samples = Captioned(source(), fraction).samples("train")
    assert [sample.id for sample in samples] == [f"s{n}" for n in range(90)]
    assert all(sample.image is not None for sample in samples)
    groups = captioned_groups(samples)
    assert len(groups) == max(1, round(fraction * 30))
    assert sum(bool(sample.captions) for sample in samples) == 3 * len(groups)


def test_keep_takes_one_of_the_two_sides():
    whole = Captioned(source(), 0.3).samples("train")
    with_text = Captioned(source(), 0.3, keep="captioned").samples("train")
    without = Captioned(source(), 0.3, keep="uncaptioned").samples("train")
    assert list(with_text) == [sample for sample in whole if sample.captions]
    assert list(without) == [sample for sample in whole if not sample.captions]
    assert len(with_text) + len(without) == 90


def test_a_larger_fraction_keeps_what_a_smaller_one_keeps_and_the_seed_chooses():
    few, more = (captioned_groups(Captioned(source(), fraction).samples("train")) for fraction in (0.2, 0.6))
    assert few < more
    assert few != captioned_groups(Captioned(source(), 0.2, seed=1).samples("train"))


@pytest.mark.parametrize("keep", ["all", "captioned", "uncaptioned"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_other_splits_are_the_sources_own(split, keep):
    held = source()
    assert Captioned(held, 0.2, keep=keep).samples(split) == held.samples(split)
    assert Captioned(held, 0.2).splits == held.splits


def test_samples_without_a_group_stand_alone_and_texts_without_captions_go():
    samples = Captioned(Held(train=[*pairs(10), *texts(10)]), 0.5).samples("train")
    assert sum(bool(sample.captions) for sample in samples) == 10
    assert all(sample.captions or sample.image for sample in samples)


def test_texts_to_be_translated_stay_without_their_translation():
    held = Phrases().samples("train")
    kept = {keep: Captioned(Phrases(), 0.5, keep=keep).samples("train") for keep in ("all", "captioned", "uncaptioned")}
    assert [(sample.id, sample.source) for sample in kept["all"]] == [(each.id, each.source) for each in held]
    assert [sample.id for sample in kept["all"] if sample.captions] == [sample.id for sample in kept["captioned"]]
    assert kept["uncaptioned"] == [sample for sample in kept["all"] if not sample.captions]
    assert [len(kept[keep]) for keep in ("captioned", "uncaptioned")] == [3, 3]


def test_variants_of_an_emoji_are_captioned_together():
    samples = Captioned(Emoji(skin_tones=True), 0.2).samples("train")
    with_text = captioned_groups(samples)
    assert not with_text & {sample.group for sample in samples if not sample.captions}
    assert len(with_text) == round(0.2 * len({sample.group for sample in samples}))


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5, 20.0])
def test_a_wrong_fraction_is_named(fraction):
    with pytest.raises(InputError, match=f"Captioned.fraction: {fraction}"):
        Captioned(source(), fraction)
