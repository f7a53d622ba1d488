import random

import pytest

from kdmm.data.near_duplicates import WORD, near_duplicates


def shingles(text, length):
    words = tuple(WORD.findall(text.casefold()))
    count = min(length, len(words))
    return {words[start : start + count] for start in range(len(words) - count + 1)} if words else set()


def by_brute_force(texts, likeness, length):
    sets = [shingles(text, length) for text in texts]
    group = list(range(len(texts)))
    for one, ours in enumerate(sets):
        for other, theirs in enumerate(sets[:one]):
            if ours and theirs and len(ours & theirs) >= likeness * len(ours | theirs):
                low, high = sorted((group[one], group[other]))
                group = [low if each == high else each for each in group]
    return group


@pytest.mark.parametrize(("likeness", "length"), [(0.5, 2), (0.3, 3), (1.0, 2), (0.7, 1), (0.05, 2)])
def test_groups_are_those_of_all_pairs(likeness, length):
    draw = random.Random(0)
    for _ in range(20):
        texts = [" ".join(draw.choice("abcd") for _ in range(draw.randrange(9))) for _ in range(40)]
        assert near_duplicates(texts, likeness, length) == by_brute_force(texts, likeness, length)


def test_case_and_punctuation_do_not_count_and_a_changed_word_hardly():
    text = "one two three four five six seven eight nine ten eleven twelve"
    texts = ["other words here", text, text.upper().replace(" ", ", ") + "!", text.replace("twelve", "dozen"), "", "!"]
    assert near_duplicates(texts) == [0, 1, 1, 1, 4, 5]  # 7 of 9 shingles are in both
    assert near_duplicates(texts, likeness=0.8) == [0, 1, 1, 3, 4, 5]


def test_a_chain_is_one_group():
    words = [f"w{n}" for n in range(30)]
    texts = [" ".join(words[start : start + 14]) for start in (0, 2, 4, 6, 8, 10)]
    assert near_duplicates(texts, 0.5) == [0] * 6
    assert near_duplicates([texts[0], texts[-1]], 0.5) == [0, 1]


def test_no_texts_and_texts_without_words():
    assert near_duplicates([]) == []
    assert near_duplicates(["", "?"]) == [0, 1]
