"""Losses on class scores against torchdistill's, to 1e-5."""

import math

import pytest
import torch

from kdmm.losses import DIST, KD, CrossEntropy

theirs = pytest.importorskip("torchdistill.losses.mid_level")

B, C = 12, 7
PATHS = ("head", "output", "head", "output")  # where torchdistill finds the scores of student and teacher


def scores(seed):
    return 2 * torch.randn(B, C, generator=torch.Generator().manual_seed(seed))


STUDENT, TEACHER = scores(1), scores(2)
LABELS = torch.randint(0, C, (B,), generator=torch.Generator().manual_seed(3))


def value_and_gradient(loss):
    student = STUDENT.clone().requires_grad_()
    value = loss(student)
    value.backward()
    return value.detach(), student.grad


def agree(ours, other, factor=1.0):
    """`ours` and `other` are functions of the student's scores; `ours` is `factor` times the other."""
    found = value_and_gradient(lambda z: ours({"logits": z}, {"logits": TEACHER}, {"label": LABELS}))
    expected = value_and_gradient(lambda z: other({"head": {"output": z}}, {"head": {"output": TEACHER}}, LABELS))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, factor * b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kd_and_the_cross_entropy(temperature):
    # Theirs is one loss, alpha of the cross entropy and beta T² of the KL; ours are two terms. Each alone is made by a
    # weight near 0 (1e-30), because with alpha = 0 they return the KL without beta and T².
    agree(KD(temperature), theirs.KDLoss(*PATHS, temperature, alpha=1e-30, beta=1.0))
    agree(CrossEntropy(), theirs.KDLoss(*PATHS, temperature, alpha=1.0, beta=0.0))
    agree(KD(temperature), theirs.KDLoss(*PATHS, temperature, alpha=0.0), temperature**2)


@pytest.mark.parametrize("temperature", [2.0, 4.0])
def test_standardized_kd(temperature):
    # Theirs divides by the sample's std (1/(C - 1)) and the paper, as ours, by the population's (1/C): the same as
    # another temperature. It adds 1e-7 to the std, which is below the tolerance.
    of_ours = temperature * math.sqrt(C / (C - 1))
    other = theirs.LogitStdKDLoss(*PATHS, temperature, alpha=0.0)  # alpha = 0: without T²
    agree(KD(of_ours, standardize=True), other, of_ours**2)


@pytest.mark.parametrize(("beta", "gamma", "temperature"), [(1.0, 1.0, 1.0), (2.0, 0.5, 4.0), (0.0, 1.0, 2.0)])
def test_dist(beta, gamma, temperature):
    # No deviation in one process: both have T², and the same epsilon, which only constant rows feel.
    agree(DIST(beta, gamma, temperature), theirs.DISTLoss(*PATHS, beta=beta, gamma=gamma, tau=temperature))
