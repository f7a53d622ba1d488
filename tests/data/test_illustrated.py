import pickle

import pytest

from kdmm.data import Emoji, Illustrated, SoundFont
from kdmm.errors import InputError
from tests.data.sound_font.fonts import installed

pytestmark = installed
NAMES = {"violin": "violin", "fiddle": "violin", "orchestral harp": "harp", "banjo": "banjo"}


def notes():
    return SoundFont(families=["strings", "ethnic"], lengths=[0.4], seconds=1)


def source(**names):
    return Illustrated(notes(), Emoji(), {**NAMES, **names}, label="instrument")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_note_has_the_picture_of_its_instrument_and_all_else_is_its_own(split):
    own = {sample.id: sample for sample in notes().samples(split)}
    drawn = {sample.captions[0]: sample.image for each in Emoji().splits for sample in Emoji().samples(each)}
    instruments = notes().class_names("instrument")
    pictures = source().class_names("picture")
    found = source().samples(split)
    assert pictures == ("banjo", "harp", "violin")
    assert {each.id for each in found} == {
        id for id, sample in own.items() if instruments[sample.labels["instrument"]] in NAMES
    }
    for each in found:
        note = own[each.id]
        name = NAMES[instruments[note.labels["instrument"]]]
        assert each.image == drawn[name]
        assert pictures[each.labels["picture"]] == name
        assert (each.audio, each.captions, each.group) == (note.audio, note.captions, note.group)
        assert {**each.labels, **note.labels} == each.labels


def test_it_is_described_with_the_fold_of_its_notes():
    described = Illustrated(SoundFont(fold=3), Emoji(), NAMES, "instrument").describe("test")
    assert described == {"source": "Illustrated(SoundFont('pitch'), Emoji)", "fold": 3}


def test_it_is_read_again_where_it_was_sent():
    sent = source()
    sent.samples("val")
    assert [each.id for each in pickle.loads(pickle.dumps(sent)).samples("val")] == [
        each.id for each in sent.samples("val")
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"violn": "violin"}, r"Illustrated.names: SoundFont\('pitch'\) has no instrument 'violn'.*violin"),
        ({"viola": "violinn"}, r"Illustrated.names: Emoji has no picture of 'violinn'.*violin"),
    ],
)
def test_a_name_that_is_not_there_is_refused_with_the_nearest(names, message):
    with pytest.raises(InputError, match=message):
        source(**names).samples("train")


def test_a_label_that_the_source_does_not_name_is_refused():
    with pytest.raises(InputError, match="names no classes of a label 'instruments'"):
        Illustrated(notes(), Emoji(), NAMES, "instruments").samples("train")
