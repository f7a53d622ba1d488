"""What cannot be read is left out of a store and of training, and is nothing that the store lacks."""

from dataclasses import replace

import pytest
import torch

from kdmm.data import ImageRef, MultimodalDataModule, WebDataset
from kdmm.errors import InputError
from kdmm.teachers import Cached
from tests.data.files import BROKEN_PNG, Held, encoded, pairs, write_shard
from tests.teachers.cache import small


def listed(folder, more=0):
    samples = pairs(7 + more)
    samples[2] = replace(samples[2], image=ImageRef("2.png", BROKEN_PNG))
    return Held(train=samples)


def sharded(folder, more=0):
    folder.mkdir(exist_ok=True)
    for shard in range(2 + more):
        samples = {str(n): {"png": BROKEN_PNG if (n, shard) == (2, 1) else encoded(10 * shard + n)} for n in range(4)}
        write_shard(folder / f"{shard}.tar", samples)
    return WebDataset([str(folder / f"{shard}.tar") for shard in range(2 + more)])


def made(source, bad_samples="skip"):
    return MultimodalDataModule(source, 3, views=2, bad_samples=bad_samples)


@pytest.mark.parametrize("sources", [listed, sharded])
def test_a_sample_that_cannot_be_read_is_not_lacking(sources, tmp_path):
    online, store = small.teacher(), tmp_path / "store"
    source = made(sources(tmp_path / "data"))
    small.write(store, online, source, splits=("train",))
    before = sorted(store.rglob("*"))
    for cached in (Cached(str(store)), Cached(str(store), online, fill="online")):
        cached.prepare(source, ("train",))
        assert sorted(store.rglob("*")) == before
    source.use({"student": small.two_towers().preprocess, **online.preprocesses})
    skipped = 0
    for batch in source.train_dataloader():
        skipped += len(batch["skipped"])
        torch.testing.assert_close(cached.answer(batch)["image"], online.answer(batch)["image"], atol=1e-6, rtol=1e-5)
    assert skipped <= 1
    with pytest.raises(InputError, match=r"lacks 1 of \d train samples"):
        Cached(str(store)).prepare(made(sources(tmp_path / "data"), "stop"), ("train",))
    with pytest.raises(InputError, match=r"lacks [14] of \d+ train samples"):
        Cached(str(store)).prepare(made(sources(tmp_path / "data", 1)), ("train",))
