import pytest
import torch

from kdmm.errors import InputError
from kdmm.metrics.samples import check_depths, first_rows, hash_ids, read_batch


def test_ids_are_told_apart_and_hashed_alike_everywhere() -> None:
    ids = [f"sample {i}" for i in range(5000)]
    assert len(hash_ids(ids).unique()) == 5000
    assert torch.equal(hash_ids(ids), hash_ids(list(ids)))
    assert hash_ids([]).shape == (0,)


def test_the_first_row_of_each_key_is_found() -> None:
    keys = torch.tensor([[3, 1], [1, 9], [3, 1], [1, 2], [1, 9]])
    assert first_rows(keys).tolist() == [3, 1, 0]  # keys in order: (1, 2), (1, 9), (3, 1)


def test_depths_are_put_in_order() -> None:
    assert check_depths([5, 1, 5], "Retrieval") == (1, 5)
    with pytest.raises(InputError, match=r"Retrieval.k: \[0, 5\] given"):
        check_depths([0, 5], "Retrieval")
    with pytest.raises(InputError, match=r"Agreement.k: \[\] given"):
        check_depths([], "Agreement")


def test_a_missing_entry_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"ZeroShot reads 'label' from the batch, .* Did you mean 'labels'"):
        read_batch({"labels": 1}, "label", "ZeroShot")
