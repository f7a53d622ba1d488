import hashlib
import importlib.util
import pickle
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdmm import fetch
from kdmm.data.audio_ref import AudioRef
from kdmm.data.concept_folds import FOLDS
from kdmm.data.image_ref import ImageRef
from kdmm.data.svg_ref import SvgRef
from kdmm.data.tux_paint import TuxPaint
from kdmm.errors import InputError
from tests.data.files import BROKEN_PNG
from tests.data.sounds import RATE, encoded, tones

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="3"><rect width="4" height="3" fill="#0000ff"/></svg>'
CROW = "A crow.\nfr.utf8=Un corbeau.\npt_BR.utf8=Um corvo. \n\nca@valencia.utf8=Un corb.\n"
HAS_RESVG = importlib.util.find_spec("resvg_py") is not None


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_picture(path, colour=(255, 0, 0, 255)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGBA", (6, 4), colour).save(path)


@pytest.fixture
def stamps(tmp_path):
    """Return a folder with six stamps of five concepts."""
    root = tmp_path / "stamps"
    write_picture(root / "animals/birds/crow.png")
    write(root / "animals/birds/crow.txt", CROW)
    write(root / "animals/birds/crow.dat", "nomirror")
    write(root / "animals/birds/crow.ogg", encoded(tones(0.2), "OGG", "VORBIS"))
    write(root / "animals/birds/crow_desc.ogg", encoded(tones(0.3), "OGG", "VORBIS"))
    write(root / "animals/birds/crow_desc_fr.ogg", encoded(tones(0.4), "OGG", "VORBIS"))
    write(root / "animals/birds/crow_desc_pt_BR.wav", encoded(tones(0.5)))
    write_picture(root / "animals/crow_white.png", (255, 255, 255, 0))
    write(root / "animals/crow_white.txt", b"\xef\xbb\xbfA white crow.\r\nfr.utf8=Un corbeau.\r\n")
    write_picture(root / "vehicles/bus.png")
    write(root / "vehicles/bus.txt", "A bus.\nfr.utf8=A bus.\n")
    write(root / "vehicles/bus.wav", encoded(tones(0.1)))
    write_picture(root / "vehicles/bus_mirror.png")
    write(root / "vehicles/cart.svg", SVG)
    write(root / "vehicles/cart.txt", "A cart.\n")
    write_picture(root / "vehicles/tram.png")
    write(root / "vehicles/tram.svg", SVG)
    write_picture(root / "alone.png")
    write(root / "vehicles/gone.txt", "A name without a picture.\n")
    write(root / "vehicles/.bus.png", "no picture: macOS leaves such files behind")
    return root


def everything(folder, **settings):
    source = TuxPaint(folder, **settings)
    return {sample.id: sample for split in source.splits for sample in source.read(split)}


@pytest.mark.skipif(not HAS_RESVG, reason="SVG drawings need the package resvg-py")
def test_samples_are_what_the_files_say(stamps):
    found = everything(stamps)
    assert {name: sample.captions for name, sample in found.items()} == {
        "alone": (),
        "animals/birds/crow": ("A crow.",),
        "animals/crow_white": ("A white crow.",),
        "vehicles/bus": ("A bus.",),
        "vehicles/bus_mirror": ("A bus.",),
        "vehicles/cart": ("A cart.",),
        "vehicles/tram": (),
    }
    assert TuxPaint(stamps).class_names("category") == ("animals", "uncategorized", "vehicles")
    assert {name: sample.labels["category"] for name, sample in found.items()} == {
        "alone": 1,
        "animals/birds/crow": 0,
        "animals/crow_white": 0,
        "vehicles/bus": 2,
        "vehicles/bus_mirror": 2,
        "vehicles/cart": 2,
        "vehicles/tram": 2,
    }
    groups = Counter(sample.group for sample in found.values())
    assert groups == {"animals/birds/crow": 2, "vehicles/bus": 2, "alone": 1, "vehicles/cart": 1, "vehicles/tram": 1}
    assert all(sample.audio is None for sample in found.values())
    assert found["vehicles/cart"].image == SvgRef(str(stamps / "vehicles/cart.svg"))
    assert found["vehicles/tram"].image == ImageRef(str(stamps / "vehicles/tram.png"))
    assert found["vehicles/tram"].origin == str(stamps / "vehicles/tram.png")
    assert np.asarray(found["vehicles/cart"].image.open()).tolist() == [[[0, 0, 255]] * 4] * 3
    assert np.asarray(found["vehicles/bus"].image.open()).tolist() == [[[255, 0, 0]] * 6] * 4
    assert np.asarray(found["animals/crow_white"].image.open()).min() == 255  # transparent, on white


def test_captions_are_in_the_order_of_the_languages(stamps):
    found = everything(stamps, languages=["fr", "en", "ca@valencia", "pt_BR"], svg=False)
    assert found["animals/birds/crow"].captions == ("Un corbeau.", "A crow.", "Un corb.", "Um corvo.")
    assert found["animals/crow_white"].captions == ("Un corbeau.", "A white crow.")
    assert found["vehicles/bus"].captions == ("A bus.",)  # the same in both
    assert everything(stamps, languages=["pt_BR"], svg=False)["vehicles/bus"].captions == ()


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({"sound": "effect"}, {"animals/birds/crow": 0.2, "vehicles/bus": 0.1, "vehicles/bus_mirror": 0.1}),
        ({"sound": "description"}, {"animals/birds/crow": 0.3}),
        ({"sound": "description", "description_language": "fr"}, {"animals/birds/crow": 0.4}),
        ({"sound": "description", "description_language": "pt_BR"}, {"animals/birds/crow": 0.5}),
        ({"description_language": "fr"}, {}),
    ],
)
def test_sounds_are_of_the_chosen_kind(stamps, settings, seconds):
    found = {name: sample.audio for name, sample in everything(stamps, svg=False, **settings).items() if sample.audio}
    assert all(type(ref) is AudioRef for ref in found.values())
    clips = {name: ref.open() for name, ref in found.items()}
    assert {name: clip.seconds for name, clip in clips.items()} == pytest.approx(seconds)
    assert {clip.rate for clip in clips.values()} <= {RATE}


@pytest.mark.parametrize("deeper", ["usr/share/tuxpaint/stamps", "usr/share/tuxpaint/stamps/animals"])
def test_the_folder_may_hold_the_whole_package_or_a_part(stamps, tmp_path, deeper):
    package = tmp_path / "package"
    (package / "usr/share/tuxpaint").mkdir(parents=True)
    stamps.rename(package / "usr/share/tuxpaint/stamps")
    assert "animals/birds/crow" in everything(package, svg=False)
    part = everything(package / deeper, svg=False)
    assert ("animals/birds/crow" if deeper.endswith("stamps") else "birds/crow") in part


def many(root, concepts=60):
    """Write stamps of many concepts, each with a coloured variant, and a drawing here and there."""
    letters = "abcdefghij"
    for number in range(concepts):
        name = letters[number // 10] + letters[number % 10]
        folder = root / ("things" if number % 2 else "others")
        write_picture(folder / f"thing{name}.png")
        write(folder / f"thing{name}.txt", f"A {name}{name}.\nde.utf8=Ein {name}.\n")
        write_picture(folder / f"red_thing{name}.png")
        if number % 5 == 0:
            write(folder / f"drawn{name}.svg", SVG)
    return root


def test_every_concept_is_on_one_side_and_tested_once(tmp_path):
    root = many(tmp_path / "stamps")
    tested = Counter()
    for fold in range(FOLDS):
        source = TuxPaint(root, fold=fold, svg=False)
        groups = {split: {sample.group for sample in source.samples(split)} for split in source.splits}
        assert not groups["train"] & (groups["val"] | groups["test"])
        assert not groups["val"] & groups["test"]
        assert len(set.union(*groups.values())) == 60
        assert groups["val"] == {sample.group for sample in TuxPaint(root, svg=False).samples("val")}
        tested.update(groups["test"])
        assert source.describe("test")["fold"] == fold
    assert set(tested.values()) == {1}
    assert len(tested) == 60 - len(groups["val"])


@pytest.mark.skipif(not HAS_RESVG, reason="SVG drawings need the package resvg-py")
def test_no_setting_moves_a_concept(tmp_path):
    root = many(tmp_path / "stamps")
    whole = {sample.id for sample in TuxPaint(root, fold=2).samples("test")}
    for settings in ({"svg": False}, {"groups": ["things"]}, {"languages": ["de"]}, {"sound": "effect"}):
        part = {sample.id for sample in TuxPaint(root, fold=2, **settings).samples("test")}
        assert part <= whole
        if set(settings) & {"svg", "groups"}:
            assert part < whole
        else:
            assert part == whole


@pytest.mark.skipif(not HAS_RESVG, reason="SVG drawings need the package resvg-py")
def test_drawings_that_are_left_out_are_counted(tmp_path):
    root = many(tmp_path / "stamps")
    whole, plain = TuxPaint(root), TuxPaint(root, svg=False)
    left_out = 0
    for split in whole.splits:
        count = plain.describe(split)["svg_left_out"]
        assert count == len(whole.samples(split)) - len(plain.samples(split))
        left_out += count
    assert left_out == 12
    assert whole.describe("test") == {"source": "TuxPaint", "fold": 0}


def test_without_the_renderer_drawings_are_refused_not_left_out(stamps, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(InputError, match=r"pip install 'kdmm\[svg\]'"):
        everything(stamps)
    assert len(everything(stamps, svg=False)) == 6


def test_a_source_is_its_settings(stamps):
    source = TuxPaint(stamps, svg=False)
    source.read("train")
    assert len(pickle.dumps(source)) < 1000
    assert pickle.loads(pickle.dumps(source)).read("test") == source.read("test")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fold": 5}, ["TuxPaint.fold", "5", "0 to 4"]),
        ({"languages": []}, ["TuxPaint.languages", "none given"]),
        ({"languages": ["pt_br"]}, ["TuxPaint.languages", "'pt_br'", "ca@valencia, en, fr, pt_BR", "mean 'pt_BR'?"]),
        ({"groups": ["animal"]}, ["TuxPaint.groups", "Did you mean 'animals'?"]),
        (
            {"sound": "description", "description_language": "pt"},
            ["TuxPaint.description_language", "'pt'", "en, fr, pt_BR"],
        ),
    ],
)
def test_wrong_settings_are_named(stamps, settings, said):
    with pytest.raises(InputError) as error:
        everything(stamps, **settings)
    assert all(part in str(error.value) for part in said), error.value


def test_a_set_without_spoken_names_says_so(tmp_path):
    write_picture(tmp_path / "a/x.png")
    with pytest.raises(InputError, match="have no 'en'; they have none"):
        everything(tmp_path, languages=["en"])
    write(tmp_path / "a/x.txt", "An x.")
    with pytest.raises(InputError, match=r"TuxPaint.description_language: the stamps have no 'en'; they have none\."):
        everything(tmp_path, sound="description")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "the first line, the English name, is empty"),
        (b"  \nfr.utf8=Un corbeau.\n", "the first line, the English name, is empty"),
        (b"A crow.\nfr.utf8=Un h\xe9ron.\n", "is no UTF-8 text (invalid continuation byte at byte 20)"),
        (b"A crow.\n\nUn corbeau.\n", "line 3: 'Un corbeau.' is not of the form <language>.utf8=<name>"),
    ],
)
def test_broken_texts_are_named(stamps, text, said):
    path = write(stamps / "animals/birds/crow.txt", text)
    with pytest.raises(InputError) as error:
        everything(stamps)
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_pictures_and_sounds_that_cannot_be_read_say_why(stamps):
    sample = everything(stamps, sound="effect", svg=False)["animals/birds/crow"]
    Path(sample.image.path).write_bytes(BROKEN_PNG)
    with pytest.raises(InputError, match=r"broken|no image that can be read"):
        sample.image.open()
    Path(sample.image.path).unlink()
    with pytest.raises(InputError, match="there is no such file"):
        sample.image.open()
    Path(sample.audio.path).write_bytes(b"no sound at all")
    with pytest.raises(InputError, match="no sound that can be read"):
        sample.audio.open()


def test_a_wrong_folder_is_named(tmp_path, stamps):
    with pytest.raises(InputError, match=r"TuxPaint\.folder: .*no such folder.* Did you mean 'stamps'\?"):
        everything(tmp_path / "stamp")
    with pytest.raises(InputError, match=r"TuxPaint\.folder: .*a file, a folder is needed"):
        everything(stamps / "alone.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"TuxPaint\.folder: .* holds no stamps .*`kdmm fetch tuxpaint`"):
        everything(tmp_path / "empty")


def test_without_a_folder_the_fetched_set_is_read(stamps, tmp_path, monkeypatch):
    monkeypatch.setenv("KDMM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=r"TuxPaint\.folder: .*run `kdmm fetch tuxpaint`, or give `folder`"):
        everything(None)
    place = tmp_path / "cache/fetched/tuxpaint"
    (place / "usr/share/tuxpaint").mkdir(parents=True)
    stamps.rename(place / "usr/share/tuxpaint/stamps")
    facts = (
        '{"name": "tuxpaint", "packages": [], "version": "", "sha256": "", "known": true, "licence": "", "credit": ""}'
    )
    (place / "fetched.json").write_text(facts)
    assert len(everything(None, svg=False)) == 6


@pytest.fixture(scope="module")
def fetched():
    if fetch.present("tuxpaint") is None:
        pytest.skip("the set is not here; `kdmm fetch tuxpaint` gets it")
    return fetch.folder("tuxpaint")


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RESVG, reason="SVG drawings need the package resvg-py")
def test_the_real_set_holds_what_the_documentation_says(fetched):
    found = everything(None, sound="effect")
    assert len(found) == 961
    own_text = [name for name in found if (fetched / f"usr/share/tuxpaint/stamps/{name}.txt").exists()]
    assert len(own_text) == 950
    assert len({sample.captions for sample in found.values()}) == 804
    assert sorted(set(found) - set(own_text)) == sorted(name for name in found if name.endswith("_mirror"))
    assert all(sample.captions for sample in found.values())
    assert len({sample.audio.path for sample in found.values() if sample.audio}) == 134
    assert sum(type(sample.image) is SvgRef for sample in found.values()) == 165
    assert len({sample.group for sample in found.values()}) == 660
    blank = []
    for sample in found.values():
        image = sample.image.open()
        assert min(image.size) > 6
        if all(low == high for low, high in image.getextrema()):
            blank.append(sample.id)
        if sample.audio:
            assert sample.audio.open().seconds > 0.01
    assert blank == ["naturalforces/lightningbolt"]  # white, on white
    french = everything(None, sound="description", description_language="fr")
    assert len({sample.audio.path for sample in french.values() if sample.audio}) == 925


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RESVG, reason="SVG drawings need the package resvg-py")
def test_the_split_of_the_real_set_is_the_same_on_every_machine(fetched):
    tested = [",".join(sorted({each.group for each in TuxPaint(fold=fold).samples("test")})) for fold in range(FOLDS)]
    assert hashlib.blake2b("\n".join(tested).encode(), digest_size=8).hexdigest() == "ed3369b98c839f76"
