import math

import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import AttentionMaps, attention_map_distance
from tests.losses.data import flags
from tests.oracles import sequences as oracle

B, H, T = 3, 2, 4


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER = normal(B, H, T, T, seed=1), normal(B, H, T, T, seed=2)
CAUSAL = torch.ones(T, T, dtype=torch.bool).tril()
EVERY = torch.ones(B, T, dtype=torch.bool)
LAYERS = {"a": "x"}


def loss(student, teacher, valid=EVERY):
    return AttentionMaps(LAYERS)({"a": student, "valid/a": valid}, {"x": teacher}, {})


def test_without_masks_it_is_torchs():
    torch.testing.assert_close(loss(STUDENT, TEACHER), F.mse_loss(STUDENT, TEACHER))
    torch.testing.assert_close(
        loss(STUDENT.softmax(3), TEACHER.softmax(3)), F.mse_loss(STUDENT.softmax(3), TEACHER.softmax(3))
    )


@pytest.mark.parametrize("masks", [(-math.inf, -math.inf), (-1e4, -1e4), (-65504.0, -3.4e38), (-math.inf, -1e4)])
def test_masked_scores_do_not_count_however_each_model_masks_them(masks):
    student, teacher = (torch.where(CAUSAL, x, mask) for x, mask in zip((STUDENT, TEACHER), masks, strict=True))
    student.requires_grad_()
    value = loss(student, teacher)
    torch.testing.assert_close(value, F.mse_loss(STUDENT[..., CAUSAL], TEACHER[..., CAUSAL]))
    value.backward()
    assert student.grad.isfinite().all()
    assert (student.grad[..., ~CAUSAL] == 0).all()


def test_positions_of_padding_count_neither_as_queries_nor_as_keys():
    valid = torch.stack([flags("1111"), flags("1100"), flags("0110")])
    pairs = valid[:, None, :, None] & valid[:, None, None, :]
    student, teacher = (torch.where(pairs, x, math.nan) for x in (STUDENT, TEACHER))
    value = loss(student.requires_grad_(), teacher, valid)
    keep = pairs.expand(-1, H, -1, -1)
    torch.testing.assert_close(value, F.mse_loss(STUDENT[keep], TEACHER[keep]))
    value.backward()
    assert student.grad.isfinite().all()


def test_where_the_numbers_of_heads_differ_averages_over_heads_are_compared():
    teacher = normal(B, 6, T, T, seed=3)
    torch.testing.assert_close(loss(STUDENT, teacher), F.mse_loss(STUDENT.mean(1), teacher.mean(1)))
    assert len(attention_map_distance(STUDENT, teacher, EVERY)) == B * T * T


@pytest.mark.parametrize("places", [T, 6])
def test_attention_to_other_places_counts_where_both_models_have_them(places):
    student, teacher = normal(B, H, T, places, seed=5), normal(B, 3, T, places, seed=6)
    valid = torch.stack([flags("1111"), flags("1100"), flags("0110")])
    ours, theirs = torch.rand(B, places) < 0.7, torch.rand(B, places) < 0.7
    both, pairs = ours & theirs, valid[:, None, :, None] & (ours & theirs)[:, None, None, :]
    student, teacher = (torch.where(pairs, x, math.nan) for x in (student, teacher))
    named = {"a": student.requires_grad_(), "valid/a": valid, "keys/a": ours}
    value = AttentionMaps(LAYERS)(named, {"x": teacher, "keys/x": theirs}, {})
    expected = oracle.attention_maps(student.detach(), teacher, valid, both)
    assert value.item() == pytest.approx(expected, rel=1e-9)
    value.backward()
    assert student.grad.isfinite().all()
    one_says_it = AttentionMaps(LAYERS)({**named, "keys/a": both}, {"x": teacher}, {})
    torch.testing.assert_close(one_says_it, value)


def test_what_does_not_fit_is_named():
    with pytest.raises(InputError, match=r"AttentionMaps: layers is empty"):
        AttentionMaps({})
    with pytest.raises(InputError, match=r"student\.a has the shape \(3, 4, 4\)\. Give or tap a \(B, heads, T, S\)"):
        loss(STUDENT[:, 0], TEACHER)
    with pytest.raises(InputError, match=r"student\.a has 4 tokens a sequence, and teacher\.x 7"):
        loss(STUDENT, normal(B, H, 7, 7, seed=4))
    six, seven = normal(B, H, T, 6, seed=4), normal(B, H, T, 7, seed=4)
    with pytest.raises(InputError, match=r"student\.a attends to 6 places, teacher\.x to 6, and 4 are said to count"):
        loss(six, six)
    keys = {"keys/a": torch.ones(B, 6, dtype=torch.bool)}
    with pytest.raises(InputError, match=r"student\.a attends to 6 places, teacher\.x to 7, and 6 are said to count"):
        AttentionMaps(LAYERS)({"a": six, **keys}, {"x": seven, "keys/x": torch.ones(B, 7, dtype=torch.bool)}, {})
