import pytest
import torch

from kdmm.distributed import all_reduce_sum, gather, global_mean, rank, row_counts, rows_here, world_size
from tests import two_processes


def on_each_rank() -> dict[str, object]:
    """Rank 0 holds rows 0 1 2, rank 1 rows 3 4 of a (5, 2) tensor; then rank 1 holds none."""
    here = rank()
    results: dict[str, object] = {"rank": here, "world_size": world_size()}
    rows = torch.arange(10.0).view(5, 2)
    x = (rows[:3] if here == 0 else rows[3:]).clone().requires_grad_()
    results["counts"], here_rows = list(row_counts(x)), rows_here((3, 2))
    results["rows_here"] = [here_rows.start, here_rows.stop]
    results["sum"] = all_reduce_sum(torch.tensor([1.0, 10.0]) * (here + 1))

    gathered = gather(x)
    results["gathered"] = gathered.detach()
    (gathered * (here + 1) * torch.arange(10.0).view(5, 2)).sum().backward()  # rank 0 weighs by 1, rank 1 by 2
    results["gradient"] = x.grad
    results["constant"] = gather(x, grad=False)
    results["constant_has_gradient"] = gather(x, grad=False).requires_grad
    results["flags"] = gather(torch.tensor([True, False, True] if here == 0 else [False, True]), grad=False)
    results["numbers"] = gather(torch.tensor([1, 2, 3] if here == 0 else [4, 5]), grad=False, counts=(3, 2))

    x.grad = None
    gather(x[:0] if here == 1 else x).sum().backward()
    results["none_here"] = gather((x[:0] if here == 1 else x).detach(), grad=False)
    results["none_here_gradient"] = x.grad
    results["none_anywhere"] = gather(x[:0])

    # rank 1 gives constants: the gradient still reaches rank 0, and nobody waits for ever
    x.grad = None
    gather(x if here == 0 else x.detach()).square().sum().backward()
    results["constant_rank_gradient"] = x.grad

    values = torch.tensor([1.0, 2.0, 3.0] if here == 0 else [5.0, 7.0], requires_grad=True)
    share = global_mean(values, torch.tensor([True, False, True] if here == 0 else [True, False]))
    share.backward()
    results["share"], results["share_gradient"] = share.detach(), values.grad
    results["one_sided"] = global_mean(values.detach(), torch.full((len(values),), here == 1))
    empty = global_mean(values, torch.zeros(len(values), dtype=torch.bool))
    empty.backward()
    results["empty"] = empty.detach()
    return results


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return two_processes.run(on_each_rank, tmp_path_factory.mktemp("ranks"))


def test_each_process_knows_its_rank(ranks):
    assert [(r["rank"], r["world_size"]) for r in ranks] == [(0, 2), (1, 2)]


def test_row_counts_and_sums_are_the_same_everywhere(ranks):
    for r in ranks:
        assert r["counts"] == [3, 2]
        assert r["sum"].tolist() == [3, 30]


def test_rows_here_are_this_ranks_among_the_gathered(ranks):
    assert [r["rows_here"] for r in ranks] == [[0, 3], [3, 5]]


def test_gather_stacks_unequal_rows_in_rank_order(ranks):
    for r in ranks:
        assert torch.equal(r["gathered"], torch.arange(10.0).view(5, 2))
        assert torch.equal(r["constant"], torch.arange(10.0).view(5, 2))
        assert not r["constant_has_gradient"]


def test_gather_moves_masks_and_numbers(ranks):
    for r in ranks:
        assert r["flags"].tolist() == [True, False, True, False, True]
        assert r["numbers"].tolist() == [1, 2, 3, 4, 5]


def test_gradient_through_gather_is_the_sum_over_ranks(ranks):
    expected = 3 * torch.arange(10.0).view(5, 2)
    assert torch.equal(ranks[0]["gradient"], expected[:3])
    assert torch.equal(ranks[1]["gradient"], expected[3:])


def test_a_rank_may_have_no_rows(ranks):
    for r in ranks:
        assert torch.equal(r["none_here"], torch.arange(6.0).view(3, 2))
        assert r["none_anywhere"].shape == (0, 2)
    assert torch.equal(ranks[0]["none_here_gradient"], torch.full((3, 2), 2.0))
    assert torch.equal(ranks[1]["none_here_gradient"], torch.zeros(2, 2))


def test_a_rank_of_constants_takes_part_in_the_backward_pass(ranks):
    assert torch.equal(ranks[0]["constant_rank_gradient"], 2 * 2 * torch.arange(6.0).view(3, 2))
    assert ranks[1]["constant_rank_gradient"] is None


def test_mean_of_shares_is_the_mean_over_all_valid_rows(ranks):
    assert (ranks[0]["share"] + ranks[1]["share"]) / 2 == pytest.approx((1 + 3 + 5) / 3)
    assert (ranks[0]["one_sided"] + ranks[1]["one_sided"]) / 2 == pytest.approx((5 + 7) / 2)


def test_mean_of_shares_has_the_gradient_of_the_mean(ranks):
    # DDP takes the mean over ranks of these: 2/3 -> 1/3 a valid row
    assert torch.allclose(ranks[0]["share_gradient"], torch.tensor([2 / 3, 0, 2 / 3]))
    assert torch.allclose(ranks[1]["share_gradient"], torch.tensor([2 / 3, 0]))


def test_an_empty_mask_everywhere_is_zero(ranks):
    assert [r["empty"].item() for r in ranks] == [0, 0]


def test_one_process_needs_no_group():
    x = torch.randn(3, 2, requires_grad=True)
    assert (rank(), world_size(), row_counts(x)) == (0, 1, (3,))
    assert gather(x) is x
    assert torch.equal(gather(x, grad=False), x)
    assert not gather(x, grad=False).requires_grad
    assert torch.equal(all_reduce_sum(x), x)
    assert not all_reduce_sum(x).requires_grad


def test_global_mean_in_one_process():
    values = torch.tensor([1.0, 2.0, 6.0], requires_grad=True)
    assert global_mean(values, torch.tensor([True, False, True])) == 3.5
    nothing = global_mean(values, torch.zeros(3, dtype=torch.bool))
    assert nothing == 0
    nothing.backward()
    assert values.grad.tolist() == [0, 0, 0]
