import pytest

from kdmm.errors import InputError
from kdmm.losses import check_vocabularies

TOKENS = {"<pad>": 0, "the": 1, "cat": 2, "sat": 3}


def test_the_same_tokens_pass_in_any_order():
    check_vocabularies(TOKENS, dict(reversed(TOKENS.items())))
    check_vocabularies({}, {})


def test_equal_sizes_can_be_different_vocabularies():
    with pytest.raises(InputError, match=r"differ in 2 of 4 tokens: 'the' is 1 for the student and 2 for the teacher"):
        check_vocabularies(TOKENS, {"<pad>": 0, "the": 2, "cat": 1, "sat": 3})


def test_tokens_that_one_lacks_are_named_and_long_lists_are_cut():
    with pytest.raises(InputError, match="'sat' is 3 for the student and missing for the teacher"):
        check_vocabularies(TOKENS, {name: at for name, at in TOKENS.items() if name != "sat"})
    many = {f"word{n}": n for n in range(100, 1100)}
    with pytest.raises(InputError, match="differ in 1000 of 1004 tokens") as caught:
        check_vocabularies(TOKENS, {**TOKENS, **many})
    assert len(str(caught.value)) < 600
