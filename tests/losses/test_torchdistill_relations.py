"""Agreement with torchdistill 1.1, and where we differ from it; each difference is written out as arithmetic."""

import pytest
import torch
import torch.nn.functional as F

from kdmm.losses import (
    correlation_difference,
    noise_contrast,
    pkt_divergence,
    rkd_angle,
    rkd_distance,
    similarity_difference,
)
from kdmm.losses.relations.noise_contrast import critic_scores
from tests.losses.data import unit

mid_level = pytest.importorskip("torchdistill.losses.mid_level")

B, D, E = 9, 5, 6
OURS, THEIRS = 2 * unit(B, D, 1), 3 * unit(B, E, 2)


def outputs(student, teacher, name="features"):
    return {name: {"input": student, "output": student}}, {name: {"input": teacher, "output": teacher}}


def both(ours, theirs, function, loss):
    """Value and gradient to the student of our mean over samples, and of theirs."""
    results = []
    for compute in (lambda s: function(s, theirs).mean(), lambda s: loss(*outputs(s, theirs))):
        student = ours.clone().requires_grad_()
        value = compute(student)
        value.backward()
        results.append((value.detach(), student.grad))
    return results


def agree(ours, theirs, factor=1.0, rtol=1e-5):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, factor * b, rtol=rtol, atol=1e-9)


@pytest.mark.parametrize(
    ("function", "weights", "counted"),
    [
        # They average over all B² pairs and B³ triplets, we over those of distinct samples; the others are 0.
        (rkd_distance, (1.0, 0.0), (B - 1) / B),
        (rkd_angle, (0.0, 1.0), (B - 1) * (B - 2) / B**2),
    ],
)
def test_rkd(function, weights, counted):
    loss = mid_level.RKDLoss("features", "features", *weights, "mean")
    ours, theirs = both(OURS, THEIRS, function, loss)
    agree(ours, theirs, 1 / counted)


def test_pkt():
    """Theirs counts each sample as its own neighbour; by the chain rule of the KL ours is what is left without it."""
    loss = mid_level.PKTLoss("features", "input", "features", "input", eps=1e-12)

    def with_itself(student, teacher):
        shares = []
        for x in (teacher, student):
            kernel = (1 + F.cosine_similarity(x[:, None], x[None], dim=2)) / 2
            shares.append(1 / kernel.sum(1))
        p, q = shares
        itself = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
        return (itself + (1 - p) * pkt_divergence(student, teacher)) / B  # they divide by B twice

    ours, theirs = both(OURS, THEIRS, with_itself, loss)
    agree(ours, theirs)


def test_similarity_preserving(monkeypatch):
    """Theirs scales rows to an L1 norm of 1: ``normalize(x, 1)`` sets p, not the dimension. The paper's norm is L2."""
    monkeypatch.setattr(mid_level, "normalize", lambda x, _: F.normalize(x, dim=1))
    loss = mid_level.SPKDLoss("features", "features", "batchmean")
    ours, theirs = both(OURS, THEIRS, similarity_difference, loss)
    agree(ours, theirs)


@pytest.mark.parametrize("kernel", ["gaussian", "bilinear"])
def test_correlation_congruence(kernel):
    """Theirs is the norm, not its square, over B², and leaves vectors' lengths to the model."""
    config = {"type": kernel, "gamma": 0.4, "max_p": 2}
    norm = mid_level.CCKDLoss("features", "features", config, "sum")

    def loss(student, teacher):
        student, teacher = (F.normalize(x["features"]["output"], dim=1) for x in (student, teacher))
        return norm(*outputs(student, teacher)) ** 2 / B**2

    ours, theirs = both(OURS, THEIRS, lambda s, t: correlation_difference(s, t, kernel), loss)
    agree(ours, theirs)


def test_crd():
    """With one bank and the same constants the values are one, and so are the gradients to anchors.

    Theirs takes partners from the bank, without gradient, and ours from the batch; so its bank is given the batch.
    """
    stored, means = 7, (1.3, 0.8)
    student, teacher, bank_student, bank_teacher = (unit(n, D, seed) for seed, n in enumerate((B, B, stored, stored)))
    loss = mid_level.CRDLoss("student", "extra", "teacher", D, B + stored, stored, B + stored, 0.5, eps=0.0).double()
    loss.memory_v1.copy_(torch.cat([student, bank_student]))
    loss.memory_v2.copy_(torch.cat([teacher, bank_teacher]))
    # their constant is that of probabilities among all samples of the bank: (B + stored) times our mean
    loss.params[2:4] = torch.tensor(means) * (B + stored)
    positives = torch.arange(B)
    negatives = torch.arange(B, B + stored).expand(B, -1)
    given = {"pos_idx": positives, "contrast_idx": torch.cat([positives[:, None], negatives], 1)}
    ours, theirs = (student.clone().requires_grad_() for _ in range(2))
    expected = loss(
        {"student": {"output": theirs}, "extra": {"input": given}},
        {"teacher": {"output": teacher}},
    ).squeeze()
    found = torch.zeros(B, dtype=torch.float64)
    negative = torch.arange(B + stored).expand(B, -1) >= B
    for anchors, partners, held, mean in (
        (ours, teacher, bank_teacher, means[0]),
        (teacher, student, bank_student, means[1]),
    ):
        scores = critic_scores(anchors, partners, held, 0.5, (B,))
        found += noise_contrast(scores, negative, torch.tensor(mean, dtype=torch.float64).log(), (B,))
    found.mean().backward()
    expected.backward()
    agree((found.mean().detach(), ours.grad), (expected.detach(), theirs.grad))
