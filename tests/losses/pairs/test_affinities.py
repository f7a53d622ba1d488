import pytest
import torch

from kdmm.losses import affinity_divergence, sigmoid_contrast, softmax_contrast
from kdmm.losses.pairs.affinities import two_way_affinities
from tests.losses.data import scalar, unit

B, D = 5, 3
FIRST, SECOND = unit(B, D, 1), unit(B, D, 2)


def test_two_ways_are_one_matrix_in_one_process():
    forth, back = two_way_affinities(FIRST, SECOND[:4], 3.0, (B,), (B - 1,))
    torch.testing.assert_close(forth, 3 * FIRST @ SECOND[:4].T)
    assert back.data_ptr() == forth.data_ptr()
    assert torch.equal(back, forth.T)


def test_unpaired_rows_take_no_memory():
    """A batch of 8 pairs, 8 images and 240 texts: no matrix is larger than images x texts."""
    images, texts = torch.arange(256) < 16, (torch.arange(256) < 8) | (torch.arange(256) >= 16)
    sizes = []

    def note(x):
        sizes.append(x.numel())
        return x

    first, second = (unit(256, 4, seed, torch.float32).requires_grad_() for seed in (1, 2))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        softmax_contrast(first, second, 10.0, torch.arange(256), images & texts)
        affinity_divergence(first, second, first.detach(), second.detach(), 9.0, 9.0, images, texts)
    assert max(sizes) == 16 * 248


@pytest.mark.parametrize(
    ("loss", "matrices"),
    [
        (lambda a, b, s: softmax_contrast(a, b, s, torch.arange(64) // 2), [1, 4]),  # positives, logits
        (lambda a, b, s: sigmoid_contrast(a, b, s, -10.0, torch.arange(64) // 2), [1, 4]),  # positives, signed logits
        (  # student's logits, the teacher's targets in both directions
            lambda a, b, s: affinity_divergence(a, b, a.detach(), b.detach(), s, 50.0, *[torch.ones(64) > 0] * 2),
            [4, 4, 4],
        ),
    ],
)
def test_matrices_kept_for_the_backward_pass(loss, matrices):
    """B x B matrices are the memory of these losses: bytes per element of each that autograd holds."""
    kept = {}

    def note(x):
        if x.numel() == 64 * 64:
            kept[x.untyped_storage().data_ptr()] = x
        return x

    first, second = (unit(64, 8, seed, torch.float32).requires_grad_() for seed in (1, 2))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        loss(first, second, scalar(10.0, True).float()).backward()
    assert sorted(x.element_size() for x in kept.values()) == matrices
