import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import PHIS, Hint, hint_error, phis_matrix, phis_standardized
from kdmm.losses.features.hadamard import hadamard
from tests.losses.cases.stages import randoms

WIDTHS_OF_MODELS = [1, 2, 4, 12, 20, 36, 64, 192, 384, 512, 768, 1024, 1152]


def spread(seed, count=200, width=12):
    """Vectors whose channels differ in scale and are correlated."""
    return randoms(seed, count, width) @ (randoms(9, width, width) * torch.logspace(-2, 1, width)) + 3


def fitted(vectors):
    return vectors.mean(0), phis_matrix(vectors.T.cov(correction=0))


@pytest.mark.parametrize("size", WIDTHS_OF_MODELS)
def test_hadamard_matrices_are_signs_with_orthogonal_rows(size):
    h = hadamard(size)
    assert (h.abs() == 1).all()
    assert torch.equal(h @ h.T, size * torch.eye(size, dtype=torch.float64))


@pytest.mark.parametrize("size", [3, 5, 6, 92, 1000 + 6])
def test_widths_without_a_known_matrix_are_named(size):
    with pytest.raises(InputError, match=f"teacher's width is {size}"):
        hadamard(size)
    with pytest.raises(InputError, match=f"teacher's width is {size}"):
        PHIS().build(torch.empty(2, size))


def test_each_channel_gets_mean_0_and_variance_1():
    vectors = spread(1)
    y = phis_standardized(vectors, *fitted(vectors))
    torch.testing.assert_close(y.mean(0), torch.zeros(12, dtype=torch.float64))
    torch.testing.assert_close(y.var(0, correction=0), torch.ones(12, dtype=torch.float64))


def test_distances_are_only_scaled_and_the_inverse_is_the_scaled_transpose():
    vectors = spread(1)
    mean, matrix = fitted(vectors)
    y = phis_standardized(vectors, mean, matrix)
    scale = vectors.var(0, correction=0).mean().sqrt()
    distances = [(x[:100] - x[100:]).norm(dim=1) for x in (y, vectors)]
    torch.testing.assert_close(distances[0] * scale, distances[1])
    torch.testing.assert_close(scale**2 * y @ matrix + mean, vectors)


def test_directions_in_which_nothing_varies_do_no_harm():
    flat = spread(1).clone()
    flat[:, 3:] = 2.0
    y = phis_standardized(flat, *fitted(flat))
    torch.testing.assert_close(y.var(0, correction=0), torch.ones(12, dtype=torch.float64))
    constant = torch.full((5, 4), 2.0)
    assert phis_standardized(constant, *fitted(constant)).isfinite().all()


def test_scale_offset_and_the_sign_of_axes_do_not_matter():
    vectors = spread(1)
    expected = phis_standardized(vectors, *fitted(vectors))
    changed = 50 * vectors - 7
    torch.testing.assert_close(phis_standardized(changed, *fitted(changed)), expected)


@pytest.mark.parametrize("shape", [(5, 12), (5, 8, 12), (5, 12, 4, 2)])
def test_statistics_of_batches_are_those_of_all_their_vectors(shape):
    batches = [spread(seed, 40).reshape(5, 8, 12) for seed in (1, 2, 3)]
    batches = [x[:, 0] if len(shape) == 2 else x if len(shape) == 3 else x.mT.reshape(shape) for x in batches]
    vectors = torch.cat([x.movedim(1, -1).reshape(-1, 12) if x.ndim == 4 else x.reshape(-1, 12) for x in batches])
    module = PHIS(vectors=len(vectors))
    module.build(batches[0])
    module.double()
    for x in batches:
        assert not module.is_fitted
        module(x, torch.ones(x[:, 0].shape if x.ndim == 4 else x.shape[:-1], dtype=torch.bool))
    assert module.is_fitted
    mean, matrix = fitted(vectors)
    torch.testing.assert_close(module.mean, mean)
    torch.testing.assert_close(module.matrix, matrix)


def hint(vectors):
    term = Hint("x", "x", standardize=PHIS(vectors=vectors))
    term.build({"x": spread(1, 6)}, {"x": spread(1, 6)}, {})
    return term.double()


def test_nothing_counts_until_there_are_enough_vectors_and_then_nothing_moves():
    term, student = hint(10), {"x": randoms(1, 6, 12).requires_grad_()}
    first, second, third = ({"x": spread(seed, 6)} for seed in (1, 2, 3))
    value = term(student, first, {})
    value.backward()
    assert value == 0
    assert (student["x"].grad == 0).all()
    assert term(student, second, {}) > 0
    held = {name: x.clone() for name, x in term.state_dict().items()}
    value = term(student, third, {})
    for name, x in term.state_dict().items():
        assert torch.equal(x, held[name]), name
    mean, matrix = fitted(torch.cat([first["x"], second["x"]]))
    torch.testing.assert_close(value, hint_error(student["x"], phis_standardized(third["x"], mean, matrix)).mean())


def test_evaluation_learns_no_statistics_and_a_checkpoint_keeps_them():
    term, student, teacher = hint(2), {"x": randoms(1, 6, 12)}, {"x": spread(1, 6)}
    assert term.eval()(student, teacher, {}) == 0
    with torch.no_grad():
        assert term.train()(student, teacher, {}) == 0
    value = term(student, teacher, {})
    resumed = hint(2)
    resumed.load_state_dict(term.state_dict())
    assert resumed.eval()(student, teacher, {}) == value > 0


def test_float32_statistics_hold_far_from_zero():
    vectors = (spread(1, 500) + 1e4).float()
    module = PHIS(vectors=500)
    module.build(vectors)
    for part in vectors.split(50):
        module(part, torch.ones(50, dtype=torch.bool))
    y = module.eval()(vectors, torch.ones(500, dtype=torch.bool))
    torch.testing.assert_close(y.double().var(0), torch.ones(12, dtype=torch.float64), rtol=0.01, atol=0)


def test_one_vector_is_not_enough():
    with pytest.raises(InputError, match="PHIS: vectors is 1"):
        PHIS(1)
