import math

import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import TokenKL, softmax_divergence
from tests.losses.data import flags

B, T, V = 3, 4, 5


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER = 2 * normal(B, T, V, seed=1), 2 * normal(B, T, V, seed=2)
VALID = torch.stack([flags("1111"), flags("1000"), flags("0110")])


def loss(student=STUDENT, teacher=TEACHER, valid=VALID, batch=None, **settings):
    ours, theirs = {"logits": student, "valid/logits": valid}, {"logits": teacher}
    return TokenKL(**settings)(ours, theirs, batch or {})


def each_token():
    return softmax_divergence(STUDENT.flatten(0, 1), TEACHER.flatten(0, 1)).reshape(B, T)


def test_it_is_the_mean_over_valid_tokens_and_neither_over_all_nor_over_sequences():
    values, valid = each_token(), VALID
    of_all = values.mean()
    of_sequences = torch.stack([row[flag].mean() for row, flag in zip(values, valid, strict=True)]).mean()
    torch.testing.assert_close(loss(), values[valid].mean())
    assert not torch.isclose(loss(), of_all, rtol=0.01)
    assert not torch.isclose(loss(), of_sequences, rtol=0.01)


def test_batchmean_of_kl_div_is_longer_by_the_number_of_tokens():
    everything = torch.ones(B, T, dtype=torch.bool)
    batchmean = F.kl_div(STUDENT.log_softmax(2), TEACHER.log_softmax(2), log_target=True, reduction="batchmean")
    torch.testing.assert_close(loss(valid=everything) * T, batchmean)


def test_tokens_without_a_label_do_not_count():
    labels = torch.tensor([[2, -100, 1, 4], [-100, 0, 0, 0], [3, 3, -100, 3]])
    counts = VALID & (labels != -100)
    torch.testing.assert_close(loss(batch={"y": labels}, label="y"), each_token()[counts].mean())
    assert loss(batch={"y": torch.full((B, T), -100)}, label="y") == 0


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf])
def test_what_stands_in_padding_reaches_neither_value_nor_gradient(junk):
    student = torch.where(VALID[..., None], STUDENT, junk).requires_grad_()
    value = loss(student, torch.where(VALID[..., None], TEACHER, junk))
    torch.testing.assert_close(value, loss())
    value.backward()
    assert student.grad.isfinite().all()
    assert (student.grad[~VALID] == 0).all()


def test_other_vocabularies_and_lengths_are_refused_with_both_sizes():
    with pytest.raises(InputError, match=r"student\.logits scores 5 tokens, and teacher\.logits 8.*check_vocabularies"):
        loss(teacher=normal(B, T, 8, seed=3))
    with pytest.raises(InputError, match=r"student\.logits has 4 tokens a sequence, and teacher\.logits 6"):
        loss(teacher=normal(B, 6, V, seed=3))
    with pytest.raises(InputError, match=r"student\.logits has the shape \(3, 4\)\. Give or tap a \(B, T, V\)"):
        loss(STUDENT[..., 0])


def test_labels_are_checked():
    with pytest.raises(InputError, match=r"label is 'labels', but the batch holds only ids"):
        loss(batch={"ids": VALID}, label="labels")
    with pytest.raises(InputError, match=r"batch\['y'\] has the shape \(3, 3\), and the scores are of \(3, 4\) tokens"):
        loss(batch={"y": torch.zeros(B, 3, dtype=torch.long)}, label="y")


def test_labels_may_be_an_output_of_the_student():
    labels = torch.tensor([[2, -100, 1, 4], [-100, 0, 0, 0], [3, 3, -100, 3]])
    student = {"logits": STUDENT, "valid/logits": VALID, "tokens": labels}
    value = TokenKL(label="student.tokens")(student, {"logits": TEACHER}, {})
    torch.testing.assert_close(value, each_token()[VALID & (labels != -100)].mean())
    assert TokenKL.reads({"label": "student.tokens"}) == ({"logits", "tokens"}, {"logits"})


def test_models_that_score_other_tokens_are_refused_before_training():
    scores, tokens = torch.zeros(3, 2, 5), torch.tensor([[1, 2], [3, -100], [-100, -100]])
    ours = {"logits": scores, "tokens": tokens, "valid/logits": tokens != -100}
    absent = tokens.clone()
    absent[0] = -100  # the teacher lacks what the first is about
    TokenKL().build(ours, {"logits": scores, "tokens": absent, "valid/logits": absent != -100}, {})
    TokenKL().build(ours, {"logits": scores}, {})
    other = torch.tensor([[1, 4], [3, -100], [-100, -100]])
    theirs = {"logits": scores, "tokens": other, "valid/logits": other != -100}
    with pytest.raises(InputError, match=r"TokenKL: student and teacher score other tokens of the same texts"):
        TokenKL().build(ours, theirs, {})
    TokenKL(student="other").build(ours, theirs, {})  # what these are of is not said
