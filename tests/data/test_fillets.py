import pickle

import pytest

from kdmm import fetch
from kdmm.data import Fillets
from kdmm.data.concept_folds import FOLDS
from kdmm.data.lua_dialogs import read_dialogs
from kdmm.errors import InputError

LEVELS = [f"level{n}" for n in range(10)]
GERMAN = """
-- the first line
dialogId("{0}-a", "font_small", "What is this?")
dialogStr("Was ist das?")

dialogId("{0}-b", "font_big", "A \\"ship\\".\\nLook!")
dialogStr("Ein \\"Schiff\\".  Schau!")
--[[ dialogStr("no line") ]]
dialogId("{0}-c", "font_big", "Hm.")
dialogId("{0}-d", "", "")
dialogStr("")
"""


def english(text):
    return "\n".join(line for line in text.splitlines() if not line.startswith("dialogStr"))


@pytest.fixture
def game(tmp_path):
    """A game of ten levels in German and English, and one of them in Swedish."""
    for level in LEVELS:
        folder = tmp_path / "usr/share/games/fillets-ng/script" / level
        folder.mkdir(parents=True)
        (folder / "dialogs_de.lua").write_text(GERMAN.format(level), "utf-8")
        (folder / "dialogs_en.lua").write_text(english(GERMAN.format(level)), "utf-8")
        (folder / "dialogs.lua").write_text('dialogLoad("script/"..codename.."/")')
    folder = tmp_path / "usr/share/games/fillets-ng/script" / LEVELS[0]
    swedish = 'dialogId("level0-a", "", "What is this?")\ndialogStr("Vad är det?")'
    (folder / "dialogs_sv.lua").write_text(swedish, "utf-8")
    return tmp_path


def everything(source):
    return [sample for split in source.splits for sample in source.samples(split)]


def test_lines_stand_side_by_side(game):
    samples = {sample.id: sample for sample in everything(Fillets("de", folder=game))}
    assert set(samples) == {f"{level}/{level}-{line}" for level in LEVELS for line in "ab"}
    first, second = samples["level3/level3-a"], samples["level3/level3-b"]
    assert (first.source, first.captions, first.group) == ("Was ist das?", ("What is this?",), "level3")
    assert (second.source, second.captions) == ('Ein "Schiff". Schau!', ('A "ship". Look!',))
    back = {sample.id: sample for sample in everything(Fillets("en", "de", folder=game))}
    assert {name: (s.captions, (s.source,)) for name, s in back.items()} == {
        name: ((s.source,), s.captions) for name, s in samples.items()
    }


def test_the_folder_may_be_the_game_itself(game):
    inside = Fillets("de", folder=game / "usr/share/games/fillets-ng")
    assert everything(inside) == everything(Fillets("de", folder=game))
    assert everything(pickle.loads(pickle.dumps(inside))) == everything(inside)


def test_a_level_is_on_one_side_whatever_the_languages(game):
    tested = []
    for fold in range(FOLDS):
        source = Fillets(["de", "sv"], folder=game, fold=fold)
        alone = Fillets("de", folder=game, fold=fold)
        sides = {split: {sample.group for sample in source.samples(split)} for split in source.splits}
        assert sides == {split: {sample.group for sample in alone.samples(split)} for split in source.splits}
        assert sum(map(len, sides.values())) == len(LEVELS)
        tested += sides["test"]
    assert len(tested) == len(set(tested)) == len(LEVELS) - 1  # one level validates in every fold
    assert {sample.source for sample in everything(source) if sample.id.endswith(" sv")} == {"Vad är det?"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"source": "se"}, r"Fillets.source: no dialogue is in 'se'; there are de, en, sv. Did you mean 'sv'"),
        ({"source": "../de"}, r"Fillets.source: no dialogue is in '../de'"),
        ({"source": "de", "target": "engl"}, r"Fillets.target: no dialogue is in 'engl'"),
    ],
)
def test_a_language_that_is_not_there_is_named(game, settings, said):
    with pytest.raises(InputError, match=said):
        Fillets(**settings, folder=game).samples("train")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"source": ()}, "Fillets.source: none given"),
        ({"source": "en"}, "Fillets.target: 'en' is read too"),
        ({"source": ["de", "de"]}, "names a language twice"),
        ({"source": "de", "fold": 7}, "Fillets.fold: 7"),
    ],
)
def test_wrong_settings_are_named(settings, said):
    with pytest.raises(InputError, match=said):
        Fillets(**settings)


def test_what_is_not_fetched_is_named_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("KDMM_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="kdmm fetch fillets"):
        Fillets("de").samples("train")
    with pytest.raises(InputError, match=r"Fillets.folder: .*no such folder"):
        Fillets("de", folder=tmp_path / "no").samples("train")


@pytest.mark.parametrize(
    ("content", "translated", "original"),
    [
        ('dialogId("a", "f", "A")dialogStr("B")', {"a": "B"}, {"a": "A"}),
        ('dialogId ( "a" ,\n"f","A" ) dialogStr ("B")', {"a": "B"}, {"a": "A"}),
        ('dialogId("a", "f", "A") dialogStr("B") dialogStr("C")', {"a": "C"}, {"a": "A"}),
        ('dialogStr("B") dialogId("a", "f", "A")', {}, {"a": "A"}),  # a line of nothing
        (r'dialogId("a", "f", "\72\"\\ \n\x") dialogStr("é")', {"a": "é"}, {"a": 'H"\\ \nx'}),
        ('dialogId("a", "f", "A") dialogStr("v", "f", "B")', {}, {"a": "A"}),  # too many texts
        ('for i = 0, 9 do dialogId("k"..i, "", "") end dialogId("a", "f", "A")', {}, {"a": "A"}),
        ('-- dialogId("a", "f", "A")\n--[[\ndialogStr("B")\n]] dialogId("b", "f", "it--s")', {}, {"b": "it--s"}),
        ('x = "dialogStr(" dialogId("a", "f", "dialogStr(\\"no\\")")', {}, {"a": 'dialogStr("no")'}),
        ('os.execute("rm") dialogId("a", "f", "A" .. os.date())', {}, {}),
        ("", {}, {}),
    ],
)
def test_two_calls_are_read_and_nothing_is_run(tmp_path, content, translated, original):
    path = tmp_path / "dialogs_xx.lua"
    path.write_text(content, "utf-8")
    assert read_dialogs(path, original=False) == translated
    assert read_dialogs(path, original=True) == original


def test_a_broken_file_is_named_with_its_line(tmp_path):
    path = tmp_path / "dialogs_xx.lua"
    path.write_text('dialogId("a", "f", "A")\ndialogStr("no end)\n')
    with pytest.raises(InputError, match=r"dialogs_xx.lua, line 2: a text begins that does not end"):
        read_dialogs(path, original=False)
    path.write_bytes(b'dialogStr("\xff")')
    with pytest.raises(InputError, match=r"dialogs_xx.lua is not UTF-8 .* at byte 11"):
        read_dialogs(path, original=False)
    with pytest.raises(InputError, match=r"no.lua cannot be read: No such file"):
        read_dialogs(tmp_path / "no.lua", original=False)


@pytest.mark.skipif(fetch.present("fillets") is None, reason="kdmm fetch fillets")
def test_the_fetched_game_holds_what_the_documentation_says():
    counts = {language: len(everything(Fillets(language))) for language in ("de", "nl", "sv", "cs", "fr")}
    assert counts == {"de": 1833, "nl": 1832, "sv": 1833, "cs": 1853, "fr": 1490}
    lines = {sample.id: sample for sample in everything(Fillets("de"))}
    assert lines["airplane/let-m-divna"].source == "Was für ein seltsames Schiff ist das denn?"
    assert lines["airplane/let-m-divna"].captions == ("What kind of strange ship is that?",)
