import itertools
import json
import pickle
from collections import Counter

import pytest
import torch

from kdmm.data import Sample, TrainedTokens
from kdmm.errors import InputError
from tests.data.files import Held, texts
from tests.parallel import PAIRS, Phrases, tokens

ODD = [
    "",
    "  two   spaces\tand\nlines ",
    "été",
    "日本 語",
    "</s> is no end, <pad> no padding, <s> no begin",
    "\N{WOMAN}\u200d\N{FIRE ENGINE}",
    "a",
]


def plain(text):
    import unicodedata

    return " ".join(unicodedata.normalize("NFC", text).split())


@pytest.mark.parametrize("text", [*ODD, *(text for pair in PAIRS for text in pair), "e\u0301te\u0301"])
def test_any_text_comes_back(text):
    both = tokens(context_length=200)
    ids = both([text])
    assert both.decode(ids) == [plain(text)]
    assert ids[0, -1] == both.end
    assert not set(ids[0, :-1].tolist()) & {both.pad, both.begin, both.end}


def test_texts_are_padded_on_the_right_and_cut_before_their_end():
    both = tokens(context_length=6)
    ids = both(["the dog sleeps and runs home", "a", ""])
    assert ids.dtype is torch.int64
    assert ids.shape == (3, 6)
    assert ids[0, -1] == both.end
    assert torch.equal(ids[0, :-1], tokens(context_length=99)(["the dog sleeps and runs home"])[0, :5])
    alone = both(["a"])[0].tolist()
    assert ids[1].tolist() == [*alone, *[both.pad] * (6 - len(alone))]
    assert ids[2].tolist() == [both.end, *[both.pad] * 5]
    assert both.decode(ids)[1:] == ["a", ""]


def test_what_follows_an_end_is_not_read():
    both = tokens()
    words = both(["home"])[0, :-1].tolist()
    rows = [[*words, both.end, *words], [both.begin, *words, both.pad], [both.end, *words]]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [both.pad] * (longest - len(row)) for row in rows])
    assert both.decode(ids) == ["home", "home", ""]


def test_training_depends_on_the_texts_alone():
    one, again = tokens(), tokens()
    backwards = TrainedTokens(Phrases(PAIRS[::-1]), 270, "both", 24)
    assert one == again == backwards
    assert len({one, again, backwards}) == 1
    other = TrainedTokens(Phrases(PAIRS[1:]), 270, "both", 24)
    assert other != one
    assert tokens(context_length=9) != one
    loaded = pickle.loads(pickle.dumps(one))
    assert loaded == one
    assert torch.equal(loaded(["the cat"]), one(["the cat"]))


def test_a_large_training_gives_the_same_each_time():
    source = Held(train=[Sample(id=str(n), source=f"{n * 7919 % 1000} {n}", captions=(f"{n:b}",)) for n in range(2000)])
    assert len({TrainedTokens(source, 600, "both").content for _ in range(3)}) == 1


def test_the_first_pair_joined_is_the_most_frequent():
    counts = Counter()
    for pair in PAIRS:
        for word in " ".join(pair).split():
            letters = [f"Ġ{word}"[n] for n in range(len(word) + 1)]
            counts.update(itertools.pairwise(letters))
    first = json.loads(tokens().content)["model"]["merges"][0]
    best = max(counts.values())
    assert tuple(first) in {pair for pair, count in counts.items() if count == best}


def test_a_side_is_trained_on_its_own_texts():
    source, text, both = tokens("source"), tokens("text"), tokens("both")
    german = Held(train=[Sample(id=str(n), captions=(line,)) for n, (line, _) in enumerate(PAIRS)])
    assert TrainedTokens(german, 270, "text", 24) == source
    assert len({source, text, both}) == 3


def test_only_training_texts_are_looked_at():
    pairs = Phrases().samples("train")
    assert TrainedTokens(Held(train=pairs, val=texts(9), test=texts(99)), 270, "both", 24) == tokens()


def test_the_size_is_the_one_that_was_asked_for():
    both = tokens()
    assert both.size == len(json.loads(both.content)["model"]["vocab"]) == 270
    with pytest.raises(
        InputError, match=r"vocab_size: 9000 given, but the 12 texts of Phrases give (\d+) tokens"
    ) as error:
        TrainedTokens(Phrases(), 9000)
    reached = int(str(error.value).split("give ")[1].split()[0])
    assert TrainedTokens(Phrases(), reached).size == reached
    with pytest.raises(InputError, match=f"give {reached} tokens. Set {reached} or fewer"):
        TrainedTokens(Phrases(), reached + 1)


def test_a_tokenizer_that_was_never_trained_says_so():
    nothing = TrainedTokens(None, 270)
    assert (nothing.size, nothing.pad, nothing.begin, nothing.end) == (270, 0, 1, 2)
    with pytest.raises(InputError, match=r"TrainedTokens.trained_on: null"):
        nothing(["a"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"vocab_size": 258}, "vocab_size: 258 given; give 259 or more"),
        ({"vocab_size": 300, "context_length": 1}, "context_length: 1 given; give 2 or more"),
    ],
)
def test_wrong_settings_are_named(settings, said):
    with pytest.raises(InputError, match=said):
        TrainedTokens(Phrases(), **settings)


def test_a_source_without_the_side_is_refused():
    with pytest.raises(InputError, match=r"TrainedTokens.side: the training samples of Held have no source"):
        TrainedTokens(Held(train=texts(3)), 300, "source")
