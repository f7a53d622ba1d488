import dataclasses
import math
import os
import pickle

import pytest
import torch
from torchvision.transforms import v2

from kdmm.data import WebDataset
from kdmm.data.batches import BatchMaker, Recipe
from kdmm.data.feed import Indexed, Place
from kdmm.data.loader import EvaluationLoader, TrainingLoader
from kdmm.data.plans import EvaluationPlan, Position, TrainingPlan
from kdmm.errors import InputError
from tests.data.files import SMALL, encoded, pairs, texts, write_shard
from tests.data.test_batches import bad

AUGMENT = (v2.RandomHorizontalFlip(), v2.ColorJitter(0.4, 0.4))


def training(samples=None, workers=0, position=None, place=None, counts=None, **recipe):
    feeds = {
        "pairs": Indexed(pairs(22) if samples is None else samples, "pairs", 0),
        "texts": Indexed(texts(7), "texts", 0),
    }
    counts = counts or {"pairs": 4, "texts": 3}
    maker = BatchMaker(feeds, Recipe({"student": SMALL}, {"image": AUGMENT}, **recipe), prefixed=True)
    plan = TrainingPlan(feeds, counts, place or Place(), position or Position())
    return TrainingLoader(maker, plan, workers)


def same(one, other):
    """Whether two batches hold the same, bit for bit."""
    return (
        one["id"] == other["id"]
        and one["view"] == other["view"]
        and one["caption"] == other["caption"]
        and torch.equal(one["caption_id"], other["caption_id"])
        and all(torch.equal(one["student"][name], other["student"][name]) for name in ("image", "text"))
    )


def epochs(loader, count):
    return [list(loader) for _ in range(count)]


def test_each_iteration_is_the_next_epoch():
    loader = training()
    found = epochs(loader, 3)
    assert [len(epoch) for epoch in found] == [len(loader)] * 3 == [5] * 3
    for number, epoch in enumerate(found):
        ids = [name for batch in epoch for name in batch["id"] if name.startswith("pairs/")]
        assert len(set(ids)) == 20
        assert {view for batch in epoch for view in batch["view"][:4]} == {number}
    assert [batch["id"] for batch in found[0]] != [batch["id"] for batch in found[1]]


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_resuming_change_nothing(workers):
    expected = epochs(training(), 3)
    loader = training(workers=workers)
    assert all(
        same(a, b) for old, new in zip(expected, epochs(loader, 3), strict=True) for a, b in zip(old, new, strict=True)
    )
    for epoch, batch in ((0, 3), (1, 0), (1, 4), (2, 1)):
        loader.position.move(epoch, batch)
        rest = list(loader)
        assert len(rest) == 5 - batch
        assert all(same(a, b) for a, b in zip(expected[epoch][batch:], rest, strict=True))
        following = list(loader)
        if epoch < 2:
            assert all(same(a, b) for a, b in zip(expected[epoch + 1], following, strict=True))
    loader.close()


def test_an_iteration_that_was_left_goes_on_where_it_was_left():
    expected = epochs(training(), 1)[0]
    for workers in (0, 2):
        loader = training(workers=workers)
        for number, _ in enumerate(loader):
            if number == 1:
                break
        assert loader.state_dict() == {"epoch": 0, "batch": 2, "readers": 1}
        assert all(same(a, b) for a, b in zip(expected[2:], loader, strict=True))
        loader.close()


def test_the_state_names_the_next_batch():
    loader = training()
    states = [loader.state_dict() for _ in loader]
    assert [(state["epoch"], state["batch"]) for state in states] == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 0)]
    other = training()
    other.load_state_dict(states[2])
    assert same(next(iter(other)), epochs(training(), 1)[0][3])


def test_a_new_epoch_begins_at_its_begin_and_the_same_one_goes_on():
    position = Position()
    position.move(2, 3)
    position.set_epoch(2)
    assert (position.epoch, position.batch) == (2, 3)
    position.set_epoch(3)
    assert (position.epoch, position.batch) == (3, 0)


def test_nothing_is_read_before_the_first_batch_is_asked_for():
    """Lightning makes the iterator before it sets the epoch."""
    loader = training()
    iterator = iter(loader)
    loader.batch_sampler.sampler.set_epoch(2)
    assert same(next(iterator), epochs(training(), 3)[2][0])


def test_a_position_behind_the_last_batch_is_the_next_epoch():
    loader = training()
    loader.position.move(0, 5)
    assert same(next(iter(loader)), epochs(training(), 2)[1][0])


def test_ranks_share_each_batch_out():
    one = epochs(training(counts={"pairs": 8, "texts": 4}), 2)
    ranks = [epochs(training(counts={"pairs": 4, "texts": 2}, place=Place(rank, 2, 1)), 2) for rank in (0, 1)]
    for epoch in range(2):
        assert len(one[epoch]) == len(ranks[0][epoch]) == len(ranks[1][epoch]) == 2
        for whole, left, right in zip(one[epoch], ranks[0][epoch], ranks[1][epoch], strict=True):
            assert sorted(whole["id"]) == sorted(left["id"] + right["id"])


def test_the_runs_generator_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    epochs(training(), 2)
    assert torch.equal(torch.rand(2), expected)


def test_too_large_a_batch_is_named():
    with pytest.raises(InputError, match=r"batch_size: 30 .*'pairs' has: 22 training samples"):
        training(counts={"pairs": 30, "texts": 1})
    with pytest.raises(InputError, match=r"batch_size: 12 on each of 2 process"):
        training(counts={"pairs": 12, "texts": 1}, place=Place(0, 2))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_sample_is_an_input_error_from_a_worker_too(workers):
    loader = training([*pairs(10), *bad(1)], workers, counts={"pairs": 11, "texts": 1})
    with pytest.raises(InputError) as error:
        list(loader)
    assert type(error.value) is InputError
    assert str(error.value).startswith("table.csv, row 0: folder/0.png: the image is broken")
    assert "Traceback" not in str(error.value)
    loader.close()
    loader = training([*pairs(10), *bad(1)], workers, counts={"pairs": 11, "texts": 1}, bad_samples="skip")
    (batch,) = list(loader)
    assert len(batch["id"]) == 11
    assert [found["id"] for found in batch["skipped"]] == ["pairs/b0"]
    loader.close()


class ThreadsAndProcess:
    """Preprocessing that tells where it runs."""

    def __call__(self, texts):
        return torch.tensor([[torch.get_num_threads(), os.getpid()]] * len(texts))


def test_workers_persist_with_one_thread_each_until_they_are_closed():
    some = [dataclasses.replace(sample, image=None) for sample in pairs(8)]
    feeds = {"pairs": Indexed(some, "pairs", 0)}
    preprocess = dataclasses.replace(SMALL, text=ThreadsAndProcess())
    maker = BatchMaker(feeds, Recipe({"student": preprocess}), False)
    loader = TrainingLoader(maker, TrainingPlan(feeds, {"pairs": 2}, Place(), Position()), 2)
    found = [[tuple(batch["student"]["text"][0].tolist()) for batch in loader] for _ in range(2)]
    assert {threads for epoch in found for threads, _ in epoch} == {1}
    processes = [{process for _, process in epoch} for epoch in found]
    assert processes[0] == processes[1]
    assert len(processes[0]) == 2
    assert os.getpid() not in processes[0]
    loader.close()
    for process in processes[0]:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_what_a_worker_gets_can_be_pickled():
    loader = training()
    maker = pickle.loads(pickle.dumps(loader._loader.dataset))
    requests = next(iter(loader.plan))
    assert same(maker[requests], loader._loader.dataset[requests])


def evaluation(count, size, world, rank=0, workers=0):
    feed = Indexed(pairs(count), "pairs", 0)
    maker = BatchMaker({"pairs": feed}, Recipe({"student": SMALL}, {"image": AUGMENT}), False)
    return EvaluationLoader(maker, EvaluationPlan("pairs", feed, size, Place(rank, world)), workers)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 7, 12])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_evaluation_gives_each_sample_over_all_ranks_in_equally_many_batches(count, size, world):
    ranks = [list(evaluation(count, size, world, rank).plan) for rank in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    assert len(ranks[0]) == len(evaluation(count, size, world)) == math.ceil(math.ceil(count / world) / size)
    rows = [[row for batch in batches for row, _ in batch["pairs"]] for batches in ranks]
    assert {row for rank in rows for row in rank} == set(range(count))
    assert all(rank == sorted(rank) for rank in rows)
    assert all(1 <= len(batch["pairs"]) <= size for batches in ranks for batch in batches)
    duplicates = sum(map(len, rows)) - count
    assert duplicates == 0 if count % world == 0 else duplicates < world
    if size > 1 and count >= world:
        assert duplicates == 0


def test_evaluation_is_the_same_with_workers_and_again():
    expected = list(evaluation(7, 3, 1))
    loader = evaluation(7, 3, 1, workers=2)
    for _ in range(2):
        assert all(same(a, b) for a, b in zip(expected, loader, strict=True))
    assert [name for batch in expected for name in batch["id"]] == [f"s{n}" for n in range(7)]
    loader.close()


@pytest.fixture
def shards(tmp_path):
    for shard in range(4):
        content = {f"x{shard}_{n}": {"png": encoded(n), "txt": f"{n} of {shard}"} for n in range(6 + shard)}
        write_shard(tmp_path / f"{shard}.tar", content)
    return f"{tmp_path}/{{0..3}}.tar"


def from_shards(shards, workers, position=None, sources=("web", "texts")):
    web = WebDataset(shards, shuffle=5).feed("train", "web", 0)
    every = {"web": web, "texts": Indexed(texts(50), "texts", 0)}
    feeds = {name: every[name] for name in sources}
    maker = BatchMaker(feeds, Recipe({"student": SMALL}, {"image": AUGMENT}), True)
    counts = dict.fromkeys(sources, 3)
    plan = TrainingPlan(feeds, counts, Place(0, 1, max(1, workers)), position or Position())
    return TrainingLoader(maker, plan, workers)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("sources", [("web", "texts"), ("texts", "web")])
def test_shards_are_resumed_exactly(shards, workers, sources):
    whole = from_shards(shards, workers, sources=sources)
    expected = epochs(whole, 2)
    whole.close()
    length = len(whole)
    assert length == {"web": 10, "texts": 16}[sources[0]]
    for epoch, batch in ((0, 4), (1, 3), (1, length - 1)):
        later = from_shards(shards, workers, sources=sources)
        later.load_state_dict({"epoch": epoch, "batch": batch, "readers": max(1, workers)})
        assert all(same(a, b) for a, b in zip(expected[epoch][batch:], later, strict=True))
        later.close()


def test_two_workers_read_each_sample_of_a_pass_once_if_their_shards_are_equal(tmp_path):
    for shard in range(4):
        write_shard(tmp_path / f"{shard}.tar", {f"x{shard}_{n}": {"txt": f"{n} of {shard}"} for n in range(6)})
    loader = from_shards(f"{tmp_path}/{{0..3}}.tar", 2, sources=("web",))
    for epoch in epochs(loader, 2):
        ids = [name for batch in epoch for name in batch["id"]]
        assert len(ids) == len(set(ids)) == 24
    loader.close()


def test_shards_refuse_to_be_resumed_with_another_number_of_workers(shards):
    state = from_shards(shards, 2).state_dict()
    with pytest.raises(InputError, match=r"workers: the run was started with 2, .*'web' depends on it"):
        from_shards(shards, 0).load_state_dict(state)
    training().load_state_dict(state)  # tables do not mind


@pytest.mark.parametrize("workers", [0, 2])
def test_a_cut_shard_ends_the_run_with_its_name(shards, workers):
    path = shards.replace("{0..3}", "1")
    os.truncate(path, 3000)
    web = WebDataset(shards, samples=20).feed("train", "web", 0)
    maker = BatchMaker({"web": web}, Recipe({"student": SMALL}, bad_samples="skip"), False)
    plan = TrainingPlan({"web": web}, {"web": 4}, Place(0, 1, max(1, workers)), Position())
    loader = TrainingLoader(maker, plan, workers)
    with pytest.raises(InputError, match=r"1.tar' cannot be read") as error:
        epochs(loader, 2)
    assert "Traceback" not in str(error.value)
    loader.close()
