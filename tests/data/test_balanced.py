import pickle
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torchvision.transforms import v2

from kdmm.data import ImageTextDataModule
from kdmm.data.balanced import Balanced, ClassCounts
from kdmm.data.feed import EVAL_PASS, Place, Turn
from kdmm.errors import InputError
from tests.data.files import SMALL, Held, pairs, texts
from tests.data.test_feed import drawn, feed, flat

SIZES = (100, 15, 5)
LABELS = [label for label, size in enumerate(SIZES) for _ in range(size)]


def samples(labels=LABELS):
    return [replace(sample, labels={"kind": label}) for sample, label in zip(texts(len(labels)), labels, strict=True)]


def balanced(power=0.0, labels=LABELS, name="pairs", seed=0):
    return Balanced(Held(train=samples(labels)), "kind", power).feed("train", name, seed)


def of_classes(found, labels=LABELS):
    return Counter(labels[int(name[1:])] for name, _ in found)


def passes(source, number, world=1, count=4, first=True):
    """The draws of whole passes, one after the other."""
    batches = len(source) // (count * world)
    return [flat([drawn(source, epoch, batches, count, first, world)]) for epoch in range(number)]


@pytest.mark.parametrize("world", [1, 2])
def test_power_0_gives_each_class_alike_in_every_pass(world):
    for found in passes(balanced(), 5, world):
        assert of_classes(found) == {0: 40, 1: 40, 2: 40}


@pytest.mark.parametrize("power", [0.25, 0.5, 0.8])
def test_a_class_has_the_share_of_its_size_to_the_power(power):
    powers = [size**power for size in SIZES]
    shares = [120 * each / sum(powers) for each in powers]
    total = Counter()
    for found in passes(balanced(power), 50):
        counts = of_classes(found)
        assert all(abs(counts[each] - shares[each]) < 1 for each in range(3))  # up or down
        total += counts
    assert all(abs(total[each] - 50 * shares[each]) < 2 for each in range(3))  # and right on average


def test_power_1_gives_each_sample_once_a_pass():
    for number, found in enumerate(passes(balanced(1), 4)):
        assert len({name for name, _ in found}) == 120
        assert {given for _, given in found} == {number}


def test_more_classes_than_a_share_has_whole_numbers_are_alike_on_average():
    """100 concepts in passes of 130 samples: each is given once or twice, and not always the same ones twice."""
    labels = [n % 100 for n in range(130)]
    total = Counter()
    for found in passes(balanced(0, labels), 100, count=10):
        counts = of_classes(found, labels)
        assert sum(counts.values()) == 130
        assert set(counts.values()) == {1, 2}
        total += counts
    assert all(abs(total[each] - 130) <= 3 for each in range(100))


def test_a_class_goes_round_its_samples():
    found = [each for one in passes(balanced(), 5) for each in one]
    assert len(set(found)) == len(found)  # never the same view of a sample twice
    given = Counter(name for name, _ in found)
    assert {given[f"t{n}"] for n in range(100)} == {2}  # 40 of 100 in each of 5 passes
    assert {given[f"t{n}"] for n in range(100, 115)} == {13, 14}
    assert {given[f"t{n}"] for n in range(115, 120)} == {40}
    for name in ("t0", "t107", "t118"):
        assert sorted(times for other, times in found if other == name) == list(range(given[name]))


def test_what_does_not_fill_a_batch_is_no_ones_loss():
    """11 batches of 10 on one process: 110 draws a pass, of which each class has a third."""
    total = sum((of_classes(drawn_pass) for drawn_pass in passes_of(balanced(), 30, 11, 10, True)), Counter())
    assert all(abs(total[each] - 30 * 110 / 3) < 2 for each in range(3))


def test_beside_another_source_it_goes_round_without_a_gap():
    found = [each for one in passes_of(balanced(), 24, 7, 5, False) for each in one]  # 840 draws: seven passes
    assert of_classes(found) == {0: 280, 1: 280, 2: 280}
    assert len(set(found)) == len(found)


def passes_of(source, epochs, batches, count, first):
    return [flat([drawn(source, epoch, batches, count, first, 1)]) for epoch in range(epochs)]


def test_the_order_is_mixed_pure_and_differs_between_passes_seeds_and_names():
    def order(epoch=0, **settings):
        return [name for name, _ in flat([drawn(balanced(**settings), epoch, 30, 4, True, 1)])]

    assert order() == order()
    assert len({tuple(order(**each)) for each in ({}, {"epoch": 1}, {"seed": 1}, {"name": "others"})}) == 4
    kinds = [LABELS[int(name[1:])] for name in order()]
    assert sum(a != b for a, b in pairwise(kinds)) > 60  # of 119; 79 are expected, 2 if sorted


def test_any_batch_can_be_asked_for_alone():
    """A resumed run, and a worker that has its own copy, ask in the middle."""
    source = balanced(0.5)
    expected = drawn(source, 7, 30, 4, True, 1)[11][0]
    fresh = pickle.loads(pickle.dumps(balanced(0.5)))
    request = fresh.training_request(Turn(7, 11, 30, 4, True, Place()))
    assert [(sample.id, number) for sample, number in fresh.read(request)] == expected


@pytest.mark.parametrize("first", [True, False])
def test_the_global_batch_is_that_of_one_process(first):
    one, two = drawn(balanced(), 2, 15, 8, first, 1), drawn(balanced(), 2, 15, 4, first, 2)
    assert [batch[0] for batch in one] == [batch[0] + batch[1] for batch in two]


def test_without_a_label_concepts_are_balanced():
    grouped = [replace(sample, group="many" if n < 9 else None) for n, sample in enumerate(texts(12))]
    source = Balanced(Held(train=grouped), label=None).feed("train", "pairs", 0)
    found = Counter(name for one in passes_of(source, 9, 3, 4, True) for name, _ in one)
    assert sum(found[f"t{n}"] for n in range(9)) == 9 * 12 / 4  # nine samples of four concepts' one
    assert {found[f"t{n}"] for n in range(9, 12)} == {27}


def test_only_training_is_balanced():
    held = Held(train=samples(), val=samples(LABELS[:7]), test=samples())
    source = Balanced(held, "kind")
    assert [each.id for each in source.samples("train")] == [each.id for each in samples()]
    evaluated = source.feed("val", "pairs", 0)
    assert [(s.id, n) for s, n in evaluated.read(evaluated.evaluation_request([0, 6]))] == [("t0", -1), ("t6", -1)]
    assert EVAL_PASS == -1
    assert source.describe("test") == held.describe("test")
    assert source.describe("train")["source"] == "Balanced(Held, 'kind', power=0.0)"
    assert source.feed("train", "pairs", 0).describe() == feed(120).describe()
    assert source.splits == ("train", "val", "test")


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_balanced_and_a_sample_given_again_is_a_new_view(workers):
    """Two of twelve pictures are of the rare class: each epoch of six batches of two gives each of them three times."""
    held = [replace(sample, labels={"kind": int(n >= 10)}) for n, sample in enumerate(pairs(12))]
    data = ImageTextDataModule(
        Balanced(Held(train=held), "kind"), 2, augment=[v2.ColorJitter(0.5, 0.5)], workers=workers
    )
    data.use({"student": SMALL})
    data.setup("fit")
    seen = []
    for batch in data.train_dataloader():
        seen += zip(batch["id"], batch["view"], batch["kind"].tolist(), batch["student"]["image"], strict=True)
    data.teardown("fit")
    assert Counter(kind for _, _, kind, _ in seen) == {0: 6, 1: 6}
    for name in ("s10", "s11"):
        again = sorted((view, picture) for other, view, _, picture in seen if other == name)
        assert [view for view, _ in again] == [0, 1, 2]
        assert not any(torch.equal(again[n][1], again[n - 1][1]) for n in range(3))


def test_classes_are_counted_for_the_losses():
    assert ClassCounts(Held(train=samples()), "kind") == [100, 15, 5]
    assert ClassCounts(Held(train=samples([3, -1, 0, 3])), "kind") == [1, 0, 0, 2]
    with pytest.raises(InputError, match=r"ClassCounts: label: line 0 has no label 'knd'; it has kind"):
        ClassCounts(Held(train=samples()), "knd")


@pytest.mark.parametrize("power", [-0.1, 1.5, float("nan")])
def test_a_wrong_power_is_named(power):
    with pytest.raises(InputError, match=r"Balanced\.power: .* given; give 0 for classes"):
        Balanced(Held(train=samples()), "kind", power)


def test_samples_without_the_label_are_named():
    with pytest.raises(InputError, match=r"Balanced\.label: line 0 has no label 'label'; it has kind"):
        Balanced(Held(train=samples())).feed("train", "pairs", 0)
    with pytest.raises(InputError, match=r"Balanced\.label: line 2 has -1 for none as its 'kind'"):
        balanced(labels=[0, 1, -1])
