from dataclasses import replace

import pytest

from kdmm.data import Captioned, ClassNames, Digits, Only
from kdmm.errors import InputError
from tests.data.files import Held, pairs, texts


def test_images_lose_their_captions_and_texts_their_images():
    held = Held(train=[*pairs(3), *texts(2)], val=pairs(1, 50))
    images = Only(held, "image").samples("train")
    assert [(sample.id, sample.captions, sample.image is None) for sample in images] == [
        (f"s{n}", (), False) for n in range(3)
    ]
    sentences = Only(held, "text").samples("train")
    assert [sample.id for sample in sentences] == ["s0", "s1", "s2", "t0", "t1"]
    assert all(sample.image is None and sample.captions for sample in sentences)
    assert Only(held, "text").splits == ("train", "val")


def test_wrappers_compose():
    held = Held(train=pairs(20))
    known = Only(Captioned(held, 0.25), "text").samples("train")
    assert len(known) == 5
    assert len(Only(Captioned(held, 0.25), "image").samples("train")) == 20
    with pytest.raises(InputError, match=r"Only\(Only\(Held, 'image'\), 'text'\): its train split has no samples"):
        Only(Only(held, "image"), "text").samples("train")


def test_sounds_lose_their_pictures_and_captions():
    (picture,) = pairs(1)
    held = Held(train=[picture, replace(picture, id="both", audio=picture.image)])
    (sound,) = Only(held, "audio").samples("train")
    assert (sound.id, sound.image, sound.captions) == ("both", None, ())
    assert sound.audio is picture.image
    assert [sample.audio for sample in Only(held, "image").samples("train")] == [None, None]


def test_the_names_of_classes_are_those_of_the_source_within():
    within = Only(Captioned(Digits(), 0.5), "image")
    assert ClassNames(within, "digit") == tuple("0123456789")
    with pytest.raises(InputError, match=r"names no classes of a label .digits.; it does of digit"):
        ClassNames(within, "digits")
    with pytest.raises(InputError, match=r"names no classes of a label 'kind'; it does of none"):
        ClassNames(Held(train=pairs(1)), "kind")
