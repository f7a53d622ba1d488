import itertools

import pytest
import torch

from kdmm.losses import FeatureMatch, Linear, Objective, PCGrad, projection
from tests.losses.data import unit
from tests.losses.weighting.toys import Nothing, Pull, Towers
from tests.oracles import weighting as oracle


def random_gradients(number, width, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, width, generator=generator, dtype=torch.float64)


def products(gradients):
    return (gradients @ gradients.T).tolist()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("number", [2, 3, 5])
def test_projection_is_the_papers_algorithm_on_the_vectors(number, seed):
    gradients = random_gradients(number, 4, seed)
    orders = [torch.randperm(number).tolist() for _ in range(number)]
    found = torch.tensor(projection(products(gradients), orders), dtype=torch.float64) @ gradients
    expected = torch.tensor(oracle.pcgrad(gradients.tolist(), orders), dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_two_in_conflict_end_orthogonal_to_each_other():
    gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
    found = torch.tensor(projection(products(gradients), [[0, 1], [1, 0]]), dtype=torch.float64) @ gradients
    assert found.tolist() == [[0.5, 0.5], [0, 1]]


def test_without_conflict_nothing_changes():
    gradients = torch.tensor([[1.0, 0.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 3.0]], dtype=torch.float64)
    assert projection(products(gradients), [[0, 1, 2]] * 3) == torch.eye(3).tolist()


def test_a_gradient_of_zero_is_neither_changed_nor_divided_by():
    assert projection([[0.0, 0.0], [0.0, 4.0]], [[0, 1]] * 2) == [[1, 0], [0, 1]]


def test_the_order_matters_where_three_conflict():
    gradients = torch.tensor([[1.0, 0.1], [-1.0, 0.2], [-0.8, -1.0]], dtype=torch.float64)
    rows = [projection(products(gradients), [list(order)] * 3)[0] for order in itertools.permutations(range(3))]
    assert len({tuple(round(x, 6) for x in row) for row in rows}) == 2


GOALS = {"a": ("image", [1.0, 0.0, 0.0]), "b": ("image", [-1.0, 1.0, 0.0]), "c": ("image", [-0.8, -1.0, 0.5])}
WEIGHTS = {"a": 2.0, "b": 0.5, "c": 1.0}


def conflict(step=0):
    """The student's output, the objective, its total and parts after a step."""
    objective = Objective({name: Pull(*given) for name, given in GOALS.items()}, PCGrad(WEIGHTS))
    objective.weighting.steps.fill_(step)
    x = torch.full((4, 3), 0.05, dtype=torch.float64).requires_grad_()
    return x, objective, *objective({"image": x}, {}, {})


def orders(step, number=3):
    generator = torch.Generator().manual_seed(step)
    return [torch.randperm(number, generator=generator).tolist() for _ in range(number)]


def test_the_value_is_the_weighted_sum_and_the_gradient_the_projected_one():
    changed = []
    for step in range(6):
        x, objective, total, parts = conflict(step)
        assert total.item() == pytest.approx(sum(WEIGHTS[name] * part.item() for name, part in parts.items()))
        total.backward()
        goals = torch.tensor([goal for _, goal in GOALS.values()], dtype=torch.float64)
        scales = torch.tensor(list(WEIGHTS.values()), dtype=torch.float64)
        plain = scales[:, None, None] * (x.detach() - goals[:, None]) / 4
        expected = torch.tensor(oracle.pcgrad(plain.flatten(1).tolist(), orders(step)), dtype=torch.float64).sum(0)
        torch.testing.assert_close(x.grad, expected.reshape(4, 3))
        assert objective.weighting.steps == step + 1
        changed.append(x.grad)
    assert any(not torch.equal(changed[0], other) for other in changed), "the order is drawn anew"


def test_terms_on_different_outputs_never_conflict():
    student = {"image": unit(4, 3, 1).requires_grad_(), "text": unit(4, 3, 2).requires_grad_()}
    terms = {"a": Pull("image", 2.0), "b": Pull("text", -2.0)}
    Objective(terms, PCGrad())(student, {}, {})[0].backward()
    for name, goal in (("image", 2.0), ("text", -2.0)):
        torch.testing.assert_close(student[name].grad, (student[name].detach() - goal) / 4)


def test_a_weight_of_zero_takes_a_term_out_of_the_conflict():
    objective = Objective({"a": Pull("image", 1.0), "b": Pull("image", -1.0)}, PCGrad({"a": 1, "b": Linear(0, 1)}))
    x = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    objective({"image": x}, {}, {})[0].backward()
    assert (x.grad == -1 / 4).all()
    objective.progress, x.grad = 1.0, None
    assert objective.weights() == {"a": 1, "b": 1}
    objective({"image": x}, {}, {})[0].backward()
    torch.testing.assert_close(x.grad, torch.zeros_like(x))  # opposite gradients: each projected to nothing


def test_terms_own_parameters_and_scalars_keep_their_plain_gradients():
    def gradients(weights):
        torch.manual_seed(0)
        match = FeatureMatch("image", "image")
        student, teacher = {"image": unit(4, 3, 1).requires_grad_()}, {"image": unit(4, 5, 2)}
        match.build(student, teacher, {})
        terms = {"match": match, "a": Pull("image", 1.0, 9.0), "b": Pull("image", [-9.0, 3.0, -9.0])}
        objective = Objective(terms, weights).double()
        objective(student, teacher, {})[0].backward()
        return student["image"].grad, [p.grad for p in objective.parameters()]

    (moved, own), (plain, own_plain) = gradients(PCGrad()), gradients(None)
    assert len(own) == 2
    for found, expected in zip(own, own_plain, strict=True):
        assert torch.equal(found, expected)
    assert not torch.allclose(moved, plain)


def test_a_term_that_finds_nothing_changes_nothing():
    student = {"image": unit(4, 3, 1).requires_grad_()}
    Objective({"a": Pull("image"), "none": Nothing("image")}, PCGrad())(student, {}, {})[0].backward()
    torch.testing.assert_close(student["image"].grad, student["image"].detach() / 4)


def test_absent_rows_may_hold_anything():
    x = torch.full((4, 3), 0.05, dtype=torch.float64)
    x[1] = torch.nan
    student = {"image": x.requires_grad_(), "present/image": torch.tensor([True, False, True, True])}
    terms = {name: Pull(*given) for name, given in GOALS.items()}
    total, _ = Objective(terms, PCGrad())(student, {}, {})
    total.backward()
    assert total.isfinite()
    assert (x.grad[1] == 0).all()
    assert (x.grad[0] != 0).any()
    assert x.grad.isfinite().all()


def test_in_evaluation_the_gradient_is_the_plain_one_and_no_step_is_counted():
    x, objective, *_ = conflict()
    objective.eval()
    objective({"image": x}, {}, {})[0].backward()
    goals = torch.tensor([goal for _, goal in GOALS.values()], dtype=torch.float64)
    expected = sum(w * (x.detach() - goal) / 4 for w, goal in zip(WEIGHTS.values(), goals, strict=True))
    torch.testing.assert_close(x.grad, expected)
    assert objective.weighting.steps == 1


def test_the_projected_gradient_reaches_the_students_parameters():
    def gradients(weights):
        towers = Towers()
        objective = Objective({"a": Pull("image", 1.0), "b": Pull("image", [-9.0, 3.0, -9.0])}, weights)
        objective(towers(unit(6, 4, 3)), {}, {})[0].backward()
        return towers.towers["image"].weight.grad

    assert not torch.allclose(gradients(PCGrad()), gradients(None))
