import math

import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import SequenceCrossEntropy
from tests.losses.data import flags

B, T, V = 3, 4, 5
SCORES = 2 * torch.randn(B, T, V, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABELS = torch.tensor([[2, -100, 1, 4], [0, -100, -100, -100], [3, 3, -100, 3]])


def loss(scores=SCORES, labels=LABELS, **settings):
    return SequenceCrossEntropy(**settings)({"logits": scores}, {}, {"labels": labels})


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_torchs_over_all_tokens(smoothing):
    expected = F.cross_entropy(SCORES.flatten(0, 1), LABELS.flatten(), label_smoothing=smoothing)
    torch.testing.assert_close(loss(smoothing=smoothing), expected)


def test_equal_scores_give_log_v_a_token():
    assert loss(torch.zeros(B, T, V)).item() == pytest.approx(math.log(V))


def test_padding_may_hold_anything_and_its_labels_too():
    valid = torch.stack([flags("1111"), flags("0000"), flags("0111")])
    scores = torch.where(valid[..., None], SCORES, math.nan).requires_grad_()
    labels = torch.where(valid, LABELS, 10**6)
    value = SequenceCrossEntropy()({"logits": scores, "valid/logits": valid}, {}, {"labels": labels})
    torch.testing.assert_close(value, loss(labels=torch.where(valid, LABELS, -100)))
    value.backward()
    assert scores.grad.isfinite().all()


def test_with_nothing_to_predict_it_is_0():
    scores = SCORES.clone().requires_grad_()
    value = loss(scores, torch.full((B, T), -100))
    assert value == 0
    value.backward()
    assert (scores.grad == 0).all()


def test_labels_of_no_token_are_refused():
    with pytest.raises(InputError, match=r"holds labels from -100 to 4, but the student scores 5 tokens.* or -1, "):
        loss(ignore_index=-1)
    with pytest.raises(InputError, match=r"holds labels from 0 to 5.* Give 0 to 4"):
        loss(labels=torch.where(LABELS == 4, 5, LABELS))


def test_labels_may_be_an_output_of_the_student():
    valid = torch.stack([flags("1111"), flags("0011"), flags("1110")])
    student = {"logits": SCORES, "valid/logits": valid, "tokens": LABELS}
    of_batch = SequenceCrossEntropy()(student, {}, {"labels": LABELS})
    torch.testing.assert_close(SequenceCrossEntropy("student.tokens")(student, {}, {}), of_batch)
    # the batch's own entry of that name is another thing
    torch.testing.assert_close(
        SequenceCrossEntropy("tokens")({"logits": SCORES, "tokens": LABELS * 0}, {}, {"tokens": LABELS}), loss()
    )
    assert SequenceCrossEntropy.reads({"label": "student.tokens"}) == ({"logits", "tokens"}, frozenset())
    assert SequenceCrossEntropy.reads({"label": "tokens"}) == ({"logits"}, frozenset())


def test_labels_that_are_not_there_are_named():
    with pytest.raises(InputError, match=r"reads student\.tokns, but the student gives only logits, tokens.*'tokens'"):
        SequenceCrossEntropy("student.tokns")({"logits": SCORES, "tokens": LABELS}, {}, {})
    with pytest.raises(InputError, match=r"holds only nothing. The student gives 'tokens': write 'student.tokens'"):
        SequenceCrossEntropy("tokens")({"logits": SCORES, "tokens": LABELS}, {}, {})
    with pytest.raises(InputError, match=r"student\.tokens has the shape \(3, 3\), and the scores are of \(3, 4\)"):
        SequenceCrossEntropy("student.tokens")({"logits": SCORES, "tokens": LABELS[:, 1:]}, {}, {})
