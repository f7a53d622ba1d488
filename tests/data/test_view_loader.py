import dataclasses

import pytest
import torch
from torchvision.transforms import v2

from kdmm.data import ImageTextDataModule, Only, WebDataset
from kdmm.errors import InputError
from kdmm.views import EVAL_VIEW, seeded
from tests.data.files import OTHER, SMALL, Held, encoded, pairs, texts, write_shard
from tests.data.test_batches import bad

AUGMENT = [v2.RandomHorizontalFlip(), v2.ColorJitter(0.4, 0.4, 0.4)]


def module(sources, **settings):
    return ImageTextDataModule(sources, 4, AUGMENT, views=3, **settings)


def test_every_image_comes_under_every_view_in_a_fixed_order():
    held = Held(train=[*pairs(5), *texts(2)])
    loader = module({"pairs": held, "images": Only(Held(train=pairs(2, 50)), "image")}).views_loader(
        "train", (0, 2), SMALL, 3
    )
    batches = list(loader)
    assert [len(batch["id"]) for batch in batches] == [3, 2, 3, 2, 2, 2]
    assert len(loader) == 6
    found = [key for batch in batches for key in zip(batch["id"], batch["view"], strict=True)]
    assert found == [
        *((f"pairs/s{n}", view) for view in (0, 2) for n in range(5)),
        *((f"images/s{n}", view) for view in (0, 2) for n in (50, 51)),
    ]
    assert [batch["id"] for batch in loader] == [batch["id"] for batch in batches]


@pytest.mark.parametrize("workers", [0, 2])
def test_views_are_those_of_training(workers):
    data = module({"pairs": Held(train=pairs(8)), "texts": Held(train=texts(4))}, workers=workers)
    data.use({"student": SMALL, "teacher": OTHER})
    stored = {}
    for batch in data.views_loader("train", range(3), OTHER, 5):
        stored |= dict(zip(zip(batch["id"], batch["view"], strict=True), batch["image"], strict=True))
    assert len(stored) == 8 * 3
    loader = data.train_dataloader()
    seen = set()
    for _ in range(4):
        for batch in loader:
            for row, key in enumerate(zip(batch["id"][:4], batch["view"][:4], strict=True)):
                assert torch.equal(batch["teacher"]["image"][row], stored[key])
                seen.add(key)
    assert len(seen) == 8 * 3
    data.teardown("fit")


def test_the_plain_view_is_not_augmented():
    held = Held(train=pairs(2), val=pairs(3, 10))
    (batch,) = module(held).views_loader("val", (EVAL_VIEW,), SMALL, 8)
    assert batch["id"] == ["s10", "s11", "s12"]
    assert torch.equal(batch["image"], torch.stack([SMALL.image(each.image.open()) for each in held.held["val"]]))
    (batch,) = module(held).views_loader("train", [1], SMALL, 8)
    with seeded("s0", 1):
        image = held.held["train"][0].image.open()
        for transform in AUGMENT:
            image = transform(image)
    assert torch.equal(batch["image"][0], SMALL.image(image))


def test_bad_images_are_skipped_here_too():
    samples = [*bad(3), *(dataclasses.replace(each, id=f"p{each.id}") for each in pairs(4))]
    loader = module(Held(train=samples), bad_samples="skip").views_loader("train", (0,), SMALL, 3)
    assert [batch["id"] for batch in loader] == [["ps0", "ps1", "ps2"], ["ps3"]]
    with pytest.raises(InputError, match=r"table.csv, row 0"):
        list(module(Held(train=samples)).views_loader("train", (0,), SMALL, 3))


def test_shards_have_no_list_of_views(tmp_path):
    shard = write_shard(tmp_path / "a.tar", {"a": {"png": encoded(0)}})
    data = module({"pairs": Held(train=pairs(8)), "web": WebDataset(shard)})
    with pytest.raises(InputError, match="'web' is read from front to back"):
        data.views_loader("train", (0,), SMALL, 3)
    with pytest.raises(InputError, match="'web' is read from front to back"):
        data.texts(["train"])
