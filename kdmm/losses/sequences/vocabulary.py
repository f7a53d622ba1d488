"""Whether two vocabularies are the same."""

from collections.abc import Mapping

from kdmm.errors import InputError

__all__ = ["check_vocabularies"]

SHOWN = 3  # differing tokens in the message: enough to recognize the tokenizers


def check_vocabularies(student_tokens: Mapping[str, int], teacher_tokens: Mapping[str, int]) -> None:
    """Check that every token has the same number for both models.

    Sizes do not tell: vocabularies of one size can be different, and equal ones can look different where a model's
    scores are padded to a round size. Scores can be compared where the tokens themselves are equal.

    Args:
        student_tokens: the number of each token, as ``tokenizer.get_vocab()`` of transformers gives them.
        teacher_tokens: the teacher's.

    Raises:
        InputError: a token has another number, or only one model has it.
    """
    tokens = {**student_tokens, **teacher_tokens}
    different = [token for token in tokens if student_tokens.get(token) != teacher_tokens.get(token)]
    if not different:
        return
    examples = "; ".join(
        f"{token!r} is {student_tokens.get(token, 'missing')} for the student and "
        f"{teacher_tokens.get(token, 'missing')} for the teacher"
        for token in different[:SHOWN]
    )
    raise InputError(
        f"The vocabularies differ in {len(different)} of {len(tokens)} tokens: {examples}. Scores of different "
        "vocabularies cannot be compared: train the student with the teacher's tokenizer, or on sequences that the "
        "teacher generates (SequenceCrossEntropy)."
    )
