import hashlib
import importlib

import pytest

from kdmm.data import Emoji
from kdmm.data.emoji import FOLDS
from kdmm.data.emoji_concepts import KINDS, kind
from kdmm.errors import InputError


def everything(**settings):
    source = Emoji(**settings)
    return [sample for split in source.splits for sample in source.samples(split)]


@pytest.fixture(scope="module")
def concept_of():
    return {sample.captions[0]: sample.group for sample in everything(exclude=(), skin_tones=True)}


@pytest.fixture(scope="module")
def folds():
    return [
        {split: Emoji(fold=fold, skin_tones=True).samples(split) for split in ("train", "val", "test")}
        for fold in range(FOLDS)
    ]


def test_the_packages_hold_what_the_documentation_says():
    every = everything(exclude=(), skin_tones=True)
    assert len(every) == 3944
    assert len(everything(exclude=())) == 1914
    assert len(everything()) == 1577
    assert len({sample.id for sample in every}) == len({sample.captions for sample in every}) == 3944
    assert every[0].image.open().size == (72, 72)


def test_each_fold_shares_out_all_samples_by_concept(folds):
    all_ids = {sample.id for sample in everything(skin_tones=True)}
    for fold in folds:
        groups = [{sample.group for sample in samples} for samples in fold.values()]
        assert not groups[0] & groups[1]
        assert not groups[0] & groups[2]
        assert not groups[1] & groups[2]
        ids = [sample.id for samples in fold.values() for sample in samples]
        assert len(ids) == len(set(ids))
        assert set(ids) == all_ids


def test_every_concept_is_tested_in_one_fold_or_validated_in_all(folds):
    tested = [sample.group for fold in folds for sample in {s.group: s for s in fold["test"]}.values()]
    validated = [{sample.group for sample in fold["val"]} for fold in folds]
    assert len(tested) == len(set(tested))
    assert all(each == validated[0] for each in validated)
    every = {sample.group for sample in everything(skin_tones=True)}
    assert set(tested) | validated[0] == every
    assert len(validated[0]) == round(0.12 * len(every))


def test_folds_are_of_nearly_equal_size():
    concepts_tested = [len({sample.group for sample in Emoji(fold=fold).samples("test")}) for fold in range(FOLDS)]
    assert max(concepts_tested) - min(concepts_tested) <= 1
    samples_tested = [len(Emoji(fold=fold).samples("test")) for fold in range(FOLDS)]
    assert max(samples_tested) - min(samples_tested) < 0.05 * sum(samples_tested) / FOLDS


def test_no_setting_moves_a_concept():
    plain = {sample.group for sample in Emoji(fold=2).samples("test")}
    wide = {sample.group for sample in Emoji(fold=2, exclude=(), skin_tones=True, languages=("de",)).samples("test")}
    food = {sample.group for sample in Emoji(fold=2, groups=("Food & Drink",)).samples("test")}
    assert plain < wide
    assert food < plain


def test_the_split_is_the_same_on_every_platform():
    """Python's own hash differs from process to process, so a split that used it would not pass twice."""
    tested = [",".join(sorted({sample.group for sample in Emoji(fold=fold).samples("test")})) for fold in range(FOLDS)]
    assert hashlib.blake2b("\n".join(tested).encode(), digest_size=8).hexdigest() == "c1b5a9bb9c5698a5"


@pytest.mark.parametrize(
    "names",
    [
        ("man artist", "woman artist", "artist"),
        ("person running", "man running facing right", "woman running"),
        ("waving hand", "waving hand dark skin tone", "waving hand medium-light skin tone"),
        ("man", "woman", "person", "boy", "girl", "man curly hair", "woman bald"),
        ("red heart", "blue heart", "heart with arrow", "heart suit", "light blue heart"),
        ("mermaid", "merman", "merperson"),
        ("Santa Claus", "Mrs. Claus", "Mx Claus"),
        ("cat", "cat face", "black cat"),
        ("dollar banknote", "yen banknote"),
        ("men holding hands", "women holding hands", "woman and man holding hands"),
        ("full moon", "new moon face", "waning crescent moon"),
        ("eight o'clock", "eight-thirty"),
        ("keycap 1", "keycap 10"),
        ("kiss", "kiss man man", "kiss woman man"),
        ("globe showing Americas", "globe showing Asia-Australia"),
        ("Chad", "Romania"),
    ],
)
def test_variants_are_one_concept(names, concept_of):
    assert len({concept_of[name] for name in names}) == 1


@pytest.mark.parametrize(
    "names",
    [
        ("hot dog", "dog"),
        ("Niger", "Nigeria"),
        ("Isle of Man", "person"),
        ("eye", "ear"),
        ("kiss", "kiss mark"),
        ("red apple", "pineapple"),
        ("hot pepper", "bell pepper"),
        ("moon cake", "full moon"),
        ("artist", "pilot"),
    ],
)
def test_other_things_are_other_concepts(names, concept_of):
    assert len({concept_of[name] for name in names}) == 2


def test_what_is_left_out_is_one_setting():
    every = {sample.id: sample for sample in everything(exclude=())}
    counts = dict.fromkeys(KINDS, 0)
    for sample in every.values():
        which = kind(sample.id, sample.captions[0])
        if which:
            counts[which] += 1
    assert counts == {"flags": 270, "keycaps": 13, "clock faces": 24, "families": 30}
    assert len(everything(exclude=("flags",))) == 1914 - 270


def test_captions_are_plain_words_in_every_language():
    by_id = {sample.id: sample for sample in everything(languages=("en", "de", "ja"))}
    assert by_id["1f61b"].captions == (
        "face with tongue",
        "gesicht mit herausgestreckter zunge",
        by_id["1f61b"].captions[2],
    )
    assert by_id["1f45e"].captions[0] == "man's shoe"
    assert all(not set(":_") & set(caption[1:]) for caption in (sample.captions[0] for sample in by_id.values()))


def test_aliases_are_further_captions():
    by_id = {sample.id: sample for sample in everything(aliases=True)}
    assert by_id["1f30a"].captions == ("water wave", "ocean")


def test_labels_are_the_categories():
    names = Emoji.categories()
    by_id = {sample.id: sample for sample in everything()}
    assert names[by_id["1f34e"].labels["category"]] == "Food & Drink"
    assert names[by_id["1fa8f"].labels["category"]] == "Uncategorized"  # a shovel, newer than the table


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fold": 5}, ["Emoji.fold", "5", "0 to 4"]),
        ({"languages": ("english",)}, ["Emoji.languages", "'english'", "en, es"]),
        ({"languages": ()}, ["Emoji.languages", "none"]),
        ({"groups": ("Food and Drink",)}, ["Emoji.groups", "Did you mean 'Food & Drink'?"]),
        ({"exclude": ("flag",)}, ["Emoji.exclude", "Did you mean 'flags'?"]),
    ],
)
def test_wrong_settings_are_named(settings, said):
    with pytest.raises(InputError) as error:
        Emoji(**settings)
    assert all(part in str(error.value) for part in said), error.value


def test_groups_without_samples_in_a_split_are_an_error():
    with pytest.raises(InputError, match="train split has no samples"):
        Emoji(groups=("Flags",)).samples("train")


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    def no_package(name, *rest, **others):
        if name == "emoji":
            raise ImportError(name)
        return real(name, *rest, **others)

    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", no_package)
    with pytest.raises(InputError, match=r'pip install "kdmm\[samples\]"'):
        Emoji()
