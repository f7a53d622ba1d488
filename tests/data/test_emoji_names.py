import pytest

from kdmm.data import Emoji, EmojiNames
from kdmm.data.emoji import FOLDS
from kdmm.errors import InputError


def by_id(source):
    return {sample.id: sample for split in source.splits for sample in source.samples(split)}


def test_names_stand_side_by_side():
    names = by_id(EmojiNames("de"))
    assert len(names) == 1577
    laughing = names["1f61b"]
    assert (laughing.source, laughing.captions) == ("gesicht mit herausgestreckter zunge", ("face with tongue",))
    assert laughing.media == {}
    assert by_id(EmojiNames("en", "fr"))["1f61b"].source == "face with tongue"


def test_every_language_is_read_and_written():
    languages = ("es", "ja", "ko", "pt", "it", "fr", "de", "fa", "id", "zh", "ru", "tr", "ar")
    together = EmojiNames(languages).samples("val")
    alone = [sample for language in languages for sample in EmojiNames(language).samples("val")]
    assert [(sample.source, sample.captions) for sample in together] == [(s.source, s.captions) for s in alone]
    assert len({sample.id for sample in together}) == len(together) == 13 * len(Emoji().samples("val"))


@pytest.mark.parametrize("fold", [0, FOLDS - 1])
def test_the_splits_are_those_of_the_pictures(fold):
    settings = {"fold": fold, "skin_tones": True, "groups": ["Smileys & Emotion", "Activities"]}
    source, pictures = EmojiNames(["de", "fr"], **settings), Emoji(**settings)
    for split in source.splits:
        assert {sample.group for sample in source.samples(split)} == {each.group for each in pictures.samples(split)}
        assert [each.id for each in source.samples(split)] == [
            f"{each.id} {language}" for language in ("de", "fr") for each in pictures.samples(split)
        ]
    assert source.describe("test") == {"source": "EmojiNames(de+fr to en)", "fold": fold}


def test_skin_tones_are_asked_for():
    assert len(by_id(EmojiNames("de", skin_tones=True, exclude=()))) == 3944
    toned = EmojiNames("de", skin_tones=True, groups=["Smileys & Emotion"]).samples("train")
    assert not any("hautfarbe" in sample.source for sample in toned)
    assert any("hautfarbe" in sample.source for sample in EmojiNames("de", skin_tones=True).samples("train"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"source": "german"}, "unknown 'german'"),
        ({"source": "de", "target": "engl"}, "unknown 'engl'"),
        ({"source": ()}, r"EmojiNames.source: none given"),
        ({"source": "en"}, r"EmojiNames.target: 'en' is read too"),
        ({"source": ["de", "de"]}, r"EmojiNames.source: .* names a language twice"),
        ({"source": "de", "fold": 5}, "fold: 5"),
        ({"source": "de", "groups": ["Food and Drink"]}, "Did you mean 'Food & Drink'"),
    ],
)
def test_wrong_settings_are_named(settings, said):
    with pytest.raises(InputError, match=said):
        EmojiNames(**settings)
