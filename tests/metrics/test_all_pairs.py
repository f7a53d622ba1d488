import pytest
import torch
from torch.nn.functional import normalize

from kdmm.errors import InputError
from kdmm.metrics import AllPairs, Retrieval

NAMES = ["image", "text", "audio"]


def outputs(seed, count=30):
    draw = torch.Generator().manual_seed(seed)
    shared = torch.randn(count, 8, generator=draw)
    made = {name: normalize(shared + torch.randn(count, 8, generator=draw), dim=1) for name in NAMES}
    return made | {f"present/{name}": torch.rand(count, generator=draw) < 0.7 for name in NAMES}


def batch(start, count=30):
    ids = [str(start + number) for number in range(count)]
    return {"id": ids, "caption_id": torch.arange(start, start + count)}


def test_six_directions_are_those_of_three_retrievals_on_the_samples_that_have_both():
    metric = AllPairs(NAMES)
    alone = {pair: Retrieval(pair) for pair in (("image", "text"), ("image", "audio"), ("text", "audio"))}
    for start in (0, 30):
        for each in (metric, *alone.values()):
            each.update(outputs(start), {}, batch(start))
    found = metric.compute()
    means = []
    for pair, retrieval in alone.items():
        values = retrieval.compute()
        for name, value in values.items():
            key = name if "/" in name else f"{'_'.join(pair)}/{name}"
            assert found[key] == value
        means.append(values["recall@5"])
    assert found["recall@5"] == pytest.approx(torch.stack(means).mean().item())
    directions = {name.split("/")[0] for name in found if "_to_" in name}
    assert len(directions) == 6


def test_reset_forgets_the_samples_of_every_pair():
    metric, fresh = AllPairs(NAMES), AllPairs(NAMES)
    metric.update(outputs(0), {}, batch(0))
    metric.reset()
    for each in (metric, fresh):
        each.update(outputs(30), {}, batch(30))
    assert metric.compute() == fresh.compute()


def test_two_modalities_are_retrievals_business():
    with pytest.raises(InputError, match="three or more"):
        AllPairs(["image", "text"])
    with pytest.raises(InputError, match="three or more"):
        AllPairs(["image", "text", "image"])
