import pytest
import torch
import torch.nn.functional as F

from kdmm.metrics.functional import top_k_overlap


def unit(rows: int, dim: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize("budget_bytes", [1, 3_000, 2**30])
def test_overlap_is_that_of_the_sorted_full_matrices(budget_bytes: int) -> None:
    student, teacher = (unit(40, 6, 0), unit(23, 6, 1)), (unit(40, 9, 2), unit(23, 9, 3))
    found = top_k_overlap(*student, *teacher, k=[1, 5, 30], budget_bytes=budget_bytes)
    student_order = (student[0].double() @ student[1].double().T).argsort(dim=1, descending=True).tolist()
    teacher_order = (teacher[0].double() @ teacher[1].double().T).argsort(dim=1, descending=True).tolist()
    for k in (1, 5):
        overlaps = [len({*a[:k]} & {*b[:k]}) / k for a, b in zip(student_order, teacher_order, strict=True)]
        assert found[k] == pytest.approx(sum(overlaps) / 40, abs=1e-6)
    assert found[30] == 1  # deeper than the gallery: both lists are all of it


def test_overlap_is_symmetric_and_one_with_itself_under_rotation() -> None:
    student, teacher = (unit(30, 6, 0), unit(30, 6, 1)), (unit(30, 6, 2), unit(30, 6, 3))
    assert top_k_overlap(*student, *teacher, k=[3]) == top_k_overlap(*teacher, *student, k=[3])
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(4))).Q
    assert top_k_overlap(*student, student[0] @ rotation, student[1] @ rotation, k=[1, 3]) == {1: 1.0, 3: 1.0}


def test_random_rankings_agree_by_chance() -> None:
    found = top_k_overlap(unit(3000, 16, 0), unit(50, 16, 1), unit(3000, 16, 2), unit(50, 16, 3), k=[5])
    assert found[5] == pytest.approx(5 / 50, abs=0.02)


def test_collapsed_embeddings_agree_with_nothing() -> None:
    same, distinct = torch.ones(10, 4), unit(10, 4, 0)
    assert top_k_overlap(same, same, distinct, distinct, k=[1, 5]) == {1: 0.0, 5: 0.0}
    assert top_k_overlap(same, same, same, same, k=[1, 5]) == {1: 0.0, 5: 0.0}


def test_a_tie_inside_the_first_k_is_no_doubt_and_one_across_the_boundary_is() -> None:
    queries = torch.tensor([[1.0]])
    student, teacher = torch.tensor([[3.0], [2.0], [2.0], [1.0]]), torch.tensor([[4.0], [3.0], [2.0], [1.0]])
    found = top_k_overlap(queries, student, queries, teacher, k=[1, 2, 3])
    assert found == {1: 1.0, 2: 0.5, 3: 1.0}


def test_an_embedding_that_is_not_finite_is_refused() -> None:
    good, bad = unit(5, 4, 0), torch.full((5, 4), float("nan"))
    with pytest.raises(ValueError, match="embeddings of the teacher's gallery are NaN"):
        top_k_overlap(good, good, good, bad, k=[1])
