from dataclasses import replace

import pytest

from kdmm.data import Having
from kdmm.errors import InputError
from tests.data.files import Held, pairs, texts


def held():
    drawn = pairs(3)
    sounding = [replace(each, id=f"a{n}", audio=each.image) for n, each in enumerate(drawn)]
    mute = [replace(each, id=f"m{n}", captions=()) for n, each in enumerate(sounding)]
    return Held(train=[*drawn, *texts(2), *sounding, *mute], val=sounding)


@pytest.mark.parametrize(
    ("modalities", "expected"),
    [
        (["image"], ["s0", "s1", "s2", "a0", "a1", "a2", "m0", "m1", "m2"]),
        (["text"], ["s0", "s1", "s2", "t0", "t1", "a0", "a1", "a2"]),
        (["audio"], ["a0", "a1", "a2", "m0", "m1", "m2"]),
        (["audio", "text"], ["a0", "a1", "a2"]),
        (["image", "text", "audio"], ["a0", "a1", "a2"]),
    ],
)
def test_samples_that_have_all_of_them_stay_as_they_are_and_in_order(modalities, expected):
    found = Having(held(), modalities).samples("train")
    assert [each.id for each in found] == expected
    assert all(each in held().samples("train") for each in found)
    assert [each.id for each in Having(held(), modalities).samples("val")] == ["a0", "a1", "a2"]


def test_a_split_without_any_is_refused():
    with pytest.raises(InputError, match=r"Having\(Held, \['audio'\]\): its train split has no samples"):
        Having(Held(train=pairs(2)), ["audio"]).samples("train")


@pytest.mark.parametrize(
    ("modalities", "message"),
    [([], "Having.modalities: none given"), (["sound"], "'sound' is none; accepted are image, text, audio, video")],
)
def test_what_is_no_modality_is_refused(modalities, message):
    with pytest.raises(InputError, match=message):
        Having(held(), modalities)
