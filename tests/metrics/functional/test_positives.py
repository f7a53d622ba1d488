import pytest
import torch

from kdmm.metrics.functional import Positives


def pairs(positives: Positives, start: int, stop: int) -> set[tuple[int, int]]:
    rows, items = positives.of(slice(start, stop))
    return {(start + row, item) for row, item in zip(rows.tolist(), items.tolist(), strict=True)}


def test_groups_are_written_out_for_any_part_of_the_queries() -> None:
    query_group, gallery_group = torch.tensor([7, -3, 7, 5]), torch.tensor([5, 7, 7, -3, 9])
    positives = Positives.by_group(query_group, gallery_group)
    expected = {(i, j) for i in range(4) for j in range(5) if query_group[i] == gallery_group[j]}
    assert len(positives) == 4
    assert pairs(positives, 0, 4) == expected
    for start in range(4):
        for stop in range(start + 1, 5):
            assert pairs(positives, start, stop) == {(i, j) for i, j in expected if start <= i < stop}


def test_items_with_several_labels_are_positives_if_they_share_one() -> None:
    query_item, query_label = torch.tensor([0, 1, 0, 2]), torch.tensor([10, 20, 30, 20])
    gallery_item, gallery_label = torch.tensor([1, 0, 2, 2]), torch.tensor([30, 20, 10, 30])
    positives = Positives(query_item, query_label, gallery_item, gallery_label, 3)
    assert pairs(positives, 0, 3) == {(0, 1), (0, 2), (1, 0), (2, 0)}
    assert positives.counts.tolist() == [3, 1, 1]  # query 0 shares two labels with item 2


def test_a_query_without_a_positive_is_named() -> None:
    with pytest.raises(ValueError, match="1 of 3 queries have no positive; the first is query 2"):
        Positives.by_group(torch.tensor([1, 2, 3]), torch.tensor([2, 1]))
