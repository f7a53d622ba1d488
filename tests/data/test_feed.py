from collections import Counter

import pytest

from kdmm.data.feed import EVAL_PASS, Indexed, Place, Turn
from tests.data.files import texts


def feed(count, name="pairs", seed=0):
    return Indexed(texts(count), name, seed)


def drawn(feed, epoch, batches, count, first, world, readers=1):
    """Return every (id, pass) of an epoch, by batch and rank."""
    return [
        [
            [
                (sample.id, number)
                for sample, number in feed.read(
                    feed.training_request(Turn(epoch, batch, batches, count, first, Place(rank, world, readers)))
                )
            ]
            for rank in range(world)
        ]
        for batch in range(batches)
    ]


def flat(epochs):
    return [each for epoch in epochs for batch in epoch for rank in batch for each in rank]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_an_epoch_gives_each_sample_of_the_first_source_at_most_once_over_all_ranks(world):
    source, count = feed(50), 4
    batches = 50 // (count * world)
    for epoch in range(3):
        found = flat([drawn(source, epoch, batches, count, True, world)])
        assert len(found) == len({name for name, _ in found}) == batches * count * world  # all but the last few
        assert {number for _, number in found} == {epoch}


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("size", [5, 50, 64])
def test_other_sources_go_round_and_each_pass_gives_each_sample_once(world, size):
    source, count, batches, epochs = feed(size), 3, 7, 12
    found = flat(drawn(source, epoch, batches, count, False, world) for epoch in range(epochs))
    assert len(found) == epochs * batches * count * world
    passes = Counter(number for _, number in found)
    whole = len(found) // size
    assert [passes[number] for number in range(whole)] == [size] * whole
    assert len(set(found)) == len(found)


def test_orders_differ_between_passes_seeds_and_names_and_are_pure():
    def order(epoch=0, name="pairs", seed=0):
        return [name for name, _ in flat([drawn(feed(40, name, seed), epoch, 10, 4, True, 1)])]

    assert order() == order()
    others = [order(epoch=1), order(name="texts"), order(seed=1)]
    assert all(sorted(other) == sorted(order()) and other != order() for other in others)
    assert len({tuple(other) for other in others}) == 3


def test_readers_do_not_change_the_order():
    assert drawn(feed(40), 1, 5, 4, True, 2, readers=1) == drawn(feed(40), 1, 5, 4, True, 2, readers=3)


def test_the_global_batch_is_that_of_one_process():
    """Two ranks with half the batch size each train on what one process would."""
    one = drawn(feed(48), 2, 6, 8, True, 1)
    two = drawn(feed(48), 2, 6, 4, True, 2)
    assert [batch[0] for batch in one] == [batch[0] + batch[1] for batch in two]
    one = drawn(feed(13), 2, 6, 8, False, 1)
    two = drawn(feed(13), 2, 6, 4, False, 2)
    assert [batch[0] for batch in one] == [batch[0] + batch[1] for batch in two]


def test_evaluation_is_in_order():
    source = feed(5)
    assert [(s.id, n) for s, n in source.read(source.evaluation_request([0, 2, 4]))] == [
        ("t0", EVAL_PASS),
        ("t2", EVAL_PASS),
        ("t4", EVAL_PASS),
    ]
