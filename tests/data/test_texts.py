import pytest

from kdmm.data import MovieReviews, Texts, Vocabulary
from kdmm.errors import InputError


def test_each_line_is_a_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\ufeffone line\n\n  another  \none line\nétoile\r\n", "utf-8")
    samples = Texts(path).samples("train")
    assert [(sample.id, sample.captions, sample.image) for sample in samples] == [
        ("1", ("one line",), None),
        ("2", ("another",), None),
        ("3", ("étoile",), None),
    ]
    assert samples[1].origin == f"{path}, line 3"
    with pytest.raises(InputError, match="no val split; it has train"):
        Texts(path).samples("val")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), (b"", "is empty"), (b"\n \n", "no samples"), (b"a\xff", "not UTF-8 .* at byte 1")],
)
def test_a_broken_file_is_named(tmp_path, content, said):
    path = tmp_path / "a.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"a.txt.*{said}"):
        Texts(path).samples("train")


def test_movie_reviews_are_cut_into_fragments():
    samples = MovieReviews(max_words=7, limit=500).samples("train")
    captions = [sample.captions[0] for sample in samples]
    assert 480 < len(captions) <= 500  # a fragment that comes again is left out
    assert len(set(captions)) == len(captions)
    assert all(3 <= len(caption.split()) <= 7 and "<br" not in caption for caption in captions)
    rows = [int(sample.origin.split()[-1]) for sample in samples]
    assert rows == sorted(rows)
    assert rows[0] == 1
    assert rows[-1] > 32_000  # of 33,530 reviews


@pytest.mark.parametrize(("settings", "said"), [({"max_words": 2}, "max_words: 2"), ({"limit": 0}, "limit: 0")])
def test_wrong_settings_are_named(settings, said):
    with pytest.raises(InputError, match=said):
        MovieReviews(**settings)


def test_a_vocabulary_gives_whole_words(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\nthe\n##ing\nof\nétoile\na1b\ncat\n...\n", "utf-8")
    assert [sample.captions[0] for sample in Vocabulary(str(tmp_path)).samples("train")] == ["the", "étoile", "cat"]
    packaged = {sample.captions[0] for sample in Vocabulary().samples("train")}
    assert 20_000 < len(packaged) < 30_522
    assert {"the", "cat", "bicycle"} < packaged


def test_a_vocabulary_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"Vocabulary.folder: .*vocab.txt.*no such file"):
        Vocabulary(str(tmp_path)).samples("train")
    with pytest.raises(InputError, match="not installed"):
        Vocabulary("package:no_such_package/model").samples("train")
