import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.retrieval import RetrievalHitRate, RetrievalRecall

from kdmm.metrics.functional import Positives, mean_rank, median_rank, ranks, recall_at_k


def random_set(num_queries: int, num_items: int, groups: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    queries = F.normalize(torch.randn(num_queries, 8, generator=generator), dim=-1)
    gallery = F.normalize(torch.randn(num_items, 8, generator=generator), dim=-1)
    gallery_group = torch.cat([torch.arange(groups), torch.randint(groups, (num_items - groups,), generator=generator)])
    query_group = torch.randint(groups, (num_queries,), generator=generator)
    return queries, gallery, query_group, gallery_group


def brute_force(queries: Tensor, gallery: Tensor, query_group: Tensor, gallery_group: Tensor) -> list[int]:
    """Sort the full matrix with negatives first among equals, drop all positives but the best, find it."""
    scores = queries.double() @ gallery.double().T
    found = []
    for row, group in zip(scores.tolist(), query_group.tolist(), strict=True):
        is_positive = [other == group for other in gallery_group.tolist()]
        order = sorted(range(len(row)), key=lambda j: (-row[j], is_positive[j]))
        best = next(j for j in order if is_positive[j])
        found.append([j for j in order if j == best or not is_positive[j]].index(best) + 1)
    return found


@pytest.mark.parametrize("groups", [1, 7, 40])
@pytest.mark.parametrize("budget_bytes", [1, 5_000, 2**30])
def test_ranks_are_those_of_the_sorted_full_matrix_whatever_the_budget(groups: int, budget_bytes: int) -> None:
    queries, gallery, query_group, gallery_group = random_set(50, 60, groups)
    found = ranks(queries, gallery, Positives.by_group(query_group, gallery_group), budget_bytes)
    assert found.tolist() == brute_force(queries, gallery, query_group, gallery_group)


def test_ties_are_broken_against_the_model() -> None:
    generator = torch.Generator().manual_seed(1)
    queries = torch.randint(-1, 2, (40, 3), generator=generator).float()  # exact products, many of them equal
    gallery = torch.randint(-1, 2, (30, 3), generator=generator).float()
    query_group, gallery_group = torch.arange(40) % 10, torch.arange(30) % 10
    found = ranks(queries, gallery, Positives.by_group(query_group, gallery_group))
    assert found.tolist() == brute_force(queries, gallery, query_group, gallery_group)


def test_tied_positives_that_share_two_labels_are_counted_once() -> None:
    queries, gallery = torch.ones(1, 2), torch.ones(3, 2)
    labels, items = torch.tensor([1, 2]), torch.tensor([0, 0, 1, 2])
    positives = Positives(torch.zeros(2, dtype=torch.int64), labels, items, torch.tensor([1, 2, 1, 9]), 1)
    assert ranks(queries, gallery, positives).tolist() == [2]  # item 2 is the one negative


@pytest.mark.parametrize(("num", "dim"), [(7, 3), (1000, 16), (1031, 65)])
def test_collapsed_embeddings_find_nothing(num: int, dim: int) -> None:
    same = F.normalize(torch.ones(num, dim), dim=-1)
    index = torch.arange(num)
    found = ranks(same, same, Positives.by_group(index, index))
    assert (found == num).all()
    assert recall_at_k(found, 5) == 0


def test_perfect_and_reversed_embeddings_rank_first_and_last() -> None:
    queries = torch.eye(20)
    index = torch.arange(20)
    assert (ranks(queries, queries, Positives.by_group(index, index)) == 1).all()
    assert (ranks(queries, -queries, Positives.by_group(index, index)) == 20).all()


def test_five_captions_an_image_agree_with_torchmetrics() -> None:
    images = random_set(30, 30, 30)[0]
    texts = random_set(150, 150, 30, seed=1)[1]
    image_of_text = torch.arange(30).repeat_interleave(5)
    image_to_text = ranks(images, texts, Positives.by_group(torch.arange(30), image_of_text))
    text_to_image = ranks(texts, images, Positives.by_group(image_of_text, torch.arange(30)))
    scores = images @ texts.T
    relevant = torch.arange(30)[:, None] == image_of_text
    for k in (1, 5, 10):
        rows = torch.arange(30)[:, None].expand(30, 150)
        hit_rate = RetrievalHitRate(top_k=k)(scores.flatten(), relevant.flatten(), indexes=rows.flatten())
        assert recall_at_k(image_to_text, k) == pytest.approx(hit_rate.item(), abs=1e-6)
        columns = torch.arange(150)[:, None].expand(150, 30)
        recall = RetrievalRecall(top_k=k)(scores.T.flatten(), relevant.T.flatten(), indexes=columns.flatten())
        assert recall_at_k(text_to_image, k) == pytest.approx(recall.item(), abs=1e-6)


def test_scores_are_float32_inside_autocast() -> None:
    queries, gallery, query_group, gallery_group = random_set(200, 200, 200, seed=2)
    positives = Positives.by_group(query_group, gallery_group)
    expected = ranks(queries, gallery, positives)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ranks(queries, gallery, positives), expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_embedding_that_is_not_finite_is_refused(bad: float) -> None:
    queries = torch.eye(4)
    broken = queries.clone()
    broken[2, 1] = bad
    positives = Positives.by_group(torch.arange(4), torch.arange(4))
    with pytest.raises(ValueError, match=r"1 of 4 embeddings of the gallery are NaN or infinite, the first in row 2"):
        ranks(queries, broken, positives)
    with pytest.raises(ValueError, match="embeddings of the queries"):
        ranks(broken, queries, positives)


def test_summaries_are_those_of_hand_counted_ranks() -> None:
    found = torch.tensor([1, 9, 2, 6])
    assert recall_at_k(found, 1) == 0.25
    assert recall_at_k(found, 6) == 0.75
    assert median_rank(found) == 4.0
    assert median_rank(found[:3]) == 2.0
    assert mean_rank(found) == 4.5


GROWTH = """
import resource, sys
import torch
import torch.nn.functional as F
from kdmm.metrics.functional import Positives, ranks

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

def check(num, groups):
    generator = torch.Generator().manual_seed(0)
    images = F.normalize(torch.randn(num, 16, generator=generator), dim=-1)
    texts = F.normalize(images + 0.3 * torch.randn(num, 16, generator=generator), dim=-1)
    group = torch.arange(num) % groups
    before = peak_bytes()
    found = ranks(images, texts, Positives.by_group(group, group))
    growth = peak_bytes() - before
    rows = slice(0, num, num // 50)
    scores = images[rows] @ texts.T
    best = scores.masked_fill(group[rows, None] != group, -torch.inf).amax(1)
    expected = 1 + ((scores > best[:, None]) & (group[rows, None] != group)).sum(1)
    assert (found[rows] - expected).abs().max() <= 1, "a sum in another order may turn one near tie"
    return growth

check(100, 100)  # libraries load their kernels
for case in sys.argv[1:]:
    print(check(*map(int, case.split(","))))
"""


def growths_mib(*cases: tuple[int, int]) -> list[float]:
    """Run (number of pairs, number of groups) in a fresh process; how much each raised its peak memory."""
    result = subprocess.run(
        [sys.executable, "-c", GROWTH, *(f"{num},{groups}" for num, groups in cases)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    return [int(line) / 2**20 for line in result.stdout.split()]


def test_memory_grows_neither_with_the_matrix_nor_with_the_positive_pairs() -> None:
    one_positive, many_positives = growths_mib((10_000, 10_000), (6_000, 3))
    assert one_positive < 100  # the full matrix: 381 MiB
    assert many_positives < 100  # 12 million positive pairs: 92 MiB for each list of int64


@pytest.mark.slow
def test_fifty_thousand_by_fifty_thousand_fit_in_100_mib() -> None:
    assert growths_mib((50_000, 50_000))[0] < 100  # the full matrix: 9,537 MiB
