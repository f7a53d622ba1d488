import dataclasses
import multiprocessing
import pickle

import lightning.pytorch as pl
import pytest
import torch
from torchvision.transforms import v2

from kdmm.data import Captioned, Emoji, ImageTextDataModule, Only, PairTable, Vocabulary, WebDataset
from kdmm.data import multimodal as module
from kdmm.errors import InputError
from kdmm.models.preprocess import Preprocess
from tests.data.files import OTHER, SMALL, Held, encoded, pairs, texts, write_pictures, write_shard

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # Lightning does what PyTorch deprecates
    pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero"),  # no val split
]

MODELS = {"student": SMALL, "teacher": OTHER}
AUGMENT = [v2.RandomHorizontalFlip(), v2.RandomAffine(10, fill=255), v2.ColorJitter(0.4, 0.4)]


def data(sources=None, batch_size=4, **settings):
    made = ImageTextDataModule(
        sources or Held(train=pairs(22), val=pairs(9, 50), test=pairs(7, 80)), batch_size, **settings
    )
    made.use(MODELS)
    return made


def test_scarce_captions_beside_all_images_and_texts():
    """The setting in which people distil."""
    sources = {
        "pairs": Captioned(Emoji(), 0.2, keep="captioned"),
        "images": Only(Emoji(), "image"),
        "words": Vocabulary(),
    }
    made = data(sources, {"pairs": 16, "images": 8, "words": 24}, augment=AUGMENT, views=4)
    made.setup("fit")
    loader = made.train_dataloader()
    assert len(loader) == len(sources["pairs"].samples("train")) // 16
    batch = next(iter(loader))
    assert [name.partition("/")[0] for name in batch["id"]] == ["pairs"] * 16 + ["images"] * 8 + ["words"] * 24
    part = batch["student"]
    assert part["present/image"].tolist() == [True] * 24 + [False] * 24
    assert part["present/text"].tolist() == [True] * 16 + [False] * 8 + [True] * 24
    assert part["image"].shape == (24, 3, 8, 8)
    assert batch["teacher"]["image"].shape == (24, 3, 12, 12)
    assert len(part["text"]) == 40
    assert len(set(batch["caption_id"].tolist())) == 48
    assert batch["category"].tolist()[24:] == [-1] * 24
    val = [name for found in made.val_dataloader() for name in found["id"]]
    assert val == [f"pairs/{sample.id}" for sample in Emoji().samples("val")]


def test_one_source_needs_no_name():
    made = data()
    assert next(iter(made.train_dataloader()))["id"][0].startswith("s")
    named = data({"pairs": Held(train=pairs(22))})
    assert next(iter(named.train_dataloader()))["id"][0].startswith("s")


def test_validation_and_testing_are_in_order_with_all_captions():
    made = data(
        Held(train=pairs(4), val=pairs(9, 50, captions=3), test=pairs(7, 80)), eval_batch_size=4, augment=AUGMENT
    )
    batches = list(made.val_dataloader())
    assert [len(batch["student"]["image"]) for batch in batches] == [3, 3, 3]
    assert [name for batch in batches for name in batch["id"][:3]] == [f"s{n}" for n in range(50, 59)]
    assert batches[0]["caption"][:3] == [f"caption 0 of {n}" for n in (50, 51, 52)]
    assert torch.equal(batches[0]["student"]["image"][0], SMALL.image(pairs(1, 50)[0].image.open()))
    captions = [row for batch in batches for row in zip(batch["id"], batch["caption"], strict=True)]
    assert sorted(captions) == [(f"s{n}", f"caption {k} of {n}") for n in range(50, 59) for k in range(3)]
    assert [name for batch in made.test_dataloader() for name in batch["id"]] == [f"s{n}" for n in range(80, 87)]


def test_ranks_come_from_the_process_group(monkeypatch):
    monkeypatch.setattr(module, "world_size", lambda: 2)
    ids, evaluated = [], []
    for rank in (0, 1):
        monkeypatch.setattr(module, "rank", lambda rank=rank: rank)
        made = data()
        loader = made.train_dataloader()
        assert len(loader) == 2
        ids += [name for batch in loader for name in batch["id"]]
        evaluated += [name for batch in made.val_dataloader() for name in batch["id"]]
    assert len(ids) == len(set(ids)) == 16
    assert sorted(evaluated) == [f"s{n}" for n in range(50, 59)]


def test_a_source_without_a_val_split_is_trained_without_validation():
    made = data(Held(train=pairs(8)))
    made.setup("fit")
    assert not made.has("val")
    assert made.val_dataloader() == []
    with pytest.raises(InputError, match="Held has no test split; it has train"):
        made.test_dataloader()


def test_what_a_split_holds_is_described():
    held = Held(train=[*pairs(6, captions=2, group=lambda n: f"g{n // 2}"), *texts(3)], val=pairs(2, 9))
    made = data({"pairs": held, "texts": Held(train=texts(2))}, 2)
    assert made.describe("train") == {
        "source": "Held",
        "split": "train",
        "samples": 9,
        "images": 6,
        "captions": 15,
        "concepts": 6,
    }
    assert made.texts(["train", "val"]) == [
        *(f"caption {k} of {n}" for n in range(6) for k in range(2)),
        *(f"text {n}" for n in range(3)),
        *(f"caption 0 of {n}" for n in (9, 10)),
    ]


def test_examples_are_spread_over_a_split():
    found = data().examples("val", 3)
    assert [caption for _, caption in found] == ["caption 0 of 50", "caption 0 of 53", "caption 0 of 56"]
    assert found[0][0].size == (12, 10)
    assert len(data().examples("test", 100)) == 7


def test_the_fingerprint_changes_with_the_pixels(tmp_path):
    write_pictures(tmp_path, ["a.png", "b.png"])
    table = tmp_path / "a.csv"
    table.write_text("image,caption\na.png,a\nb.png,b\n")

    def fingerprint(augment=None):
        return data(PairTable(table), 1, augment=augment).fingerprint

    first = fingerprint()
    assert fingerprint() == first
    assert fingerprint(AUGMENT) == fingerprint(list(AUGMENT)) != first
    assert fingerprint([v2.ColorJitter(0.4, 0.5)]) != fingerprint([v2.ColorJitter(0.4, 0.4)])
    often, seldom = ([v2.RandomApply([v2.RandomResizedCrop(8)], p=p)] for p in (1.0, 0.1))
    assert fingerprint(often) != fingerprint(seldom)  # its repr says nothing of `p`
    (tmp_path / "a.png").write_bytes(encoded(5))
    assert fingerprint() != first


def test_remembered_views_are_the_same_as_new_ones():
    samples = pairs(8)
    plain, remembering = (
        data(Held(train=samples), augment=AUGMENT, views=2, remember=known) for known in (False, True)
    )
    loaders = plain.train_dataloader(), remembering.train_dataloader()
    for _ in range(5):
        for one, other in zip(*loaders, strict=True):
            assert one["id"] == other["id"]
            assert torch.equal(one["student"]["image"], other["student"]["image"])
            assert torch.equal(one["teacher"]["image"], other["teacher"]["image"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": {"pairs": 4}}, ["batch_size", "none given for the source 'texts'"]),
        ({"batch_size": {"pair": 4, "texts": 1}}, ["unknown source 'pair'", "Did you mean 'pairs'?"]),
        ({"batch_size": {"pairs": 4, "texts": 0}}, ["0 given for 'texts'"]),
        ({"batch_size": -1}, ["-1 given"]),
        ({"views": 0}, ["views: 0"]),
        ({"workers": -1}, ["workers: -1"]),
        ({"eval_batch_size": 0}, ["eval_batch_size: 0"]),
        ({"remember": True}, ["remember", "views"]),
        ({"sources": {}}, ["sources: none"]),
    ],
)
def test_wrong_settings_are_named(settings, said):
    given = {"sources": {"pairs": Held(train=pairs(4)), "texts": Held(train=texts(4))}, "batch_size": 2, **settings}
    with pytest.raises(InputError) as error:
        ImageTextDataModule(**given)
    assert all(part in str(error.value) for part in said), error.value


def test_loaders_need_to_know_the_models():
    made = ImageTextDataModule(Held(train=pairs(4), val=pairs(2)), 2)
    for loader in (made.train_dataloader, made.val_dataloader):
        with pytest.raises(InputError, match="call `use`"):
            loader()
    with pytest.raises(InputError, match="cannot be called 'caption'"):
        made.use({"caption": Preprocess()})


def test_sources_are_read_before_training_begins(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        data(PairTable(tmp_path / "pairs.csv")).setup("fit")
    with pytest.raises(InputError, match="val split has no samples"):
        data(Held(train=pairs(2), val=[])).setup("fit")
    twice = [*pairs(2), dataclasses.replace(pairs(1)[0], origin="row 7")]
    with pytest.raises(InputError, match="id 's0' stands at row 0 and at row 7"):
        data(Held(train=twice)).setup("fit")


class Recorder(pl.LightningModule):
    """Trains one number and notes what it was given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []
        self.validated = []

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, batch_idx, tuple(batch["id"]), tuple(batch["view"])))
        mean = batch["student"]["image"].mean() if "image" in batch["student"] else 0.0
        return (self.weight * mean).sum() + (self.weight**2).sum()

    def validation_step(self, batch, batch_idx):
        self.validated += batch["id"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_batch_is_moved_as_it_is():
    made = data()
    batch = next(iter(made.train_dataloader()))
    moved = made.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert moved["teacher"]["image"].is_meta
    assert moved["id"] == batch["id"]


def fit(recorder, made, folder, checkpoint=None, **settings):
    settings = {"max_epochs": 4, "num_sanity_val_steps": 1, "enable_checkpointing": False, **settings}
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=1,
        default_root_dir=folder,
        **settings,
    )
    trainer.fit(recorder, datamodule=made, ckpt_path=checkpoint, weights_only=True)
    return trainer


class SaveAt(pl.Callback):
    """Saves a checkpoint after one batch, or at the end of an epoch."""

    def __init__(self, path, epoch, batch=None):
        self.path, self.epoch, self.batch = path, epoch, batch

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch and self.batch is None:
            trainer.save_checkpoint(self.path)


class SaveAfterValidation(SaveAt):
    """Saves a checkpoint after the validation of an epoch."""

    def on_train_epoch_end(self, trainer, pl_module):
        pass

    def on_validation_end(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch and not trainer.sanity_checking:
            trainer.save_checkpoint(self.path)


def several():
    return {"pairs": Held(train=pairs(14), val=pairs(3, 50)), "texts": Held(train=texts(11))}


@pytest.mark.parametrize("workers", [0, 2])
def test_lightning_trains_pass_by_pass(tmp_path, workers):
    recorder = Recorder()
    fit(recorder, data(several(), {"pairs": 4, "texts": 2}, workers=workers), tmp_path)
    assert [(epoch, batch) for epoch, batch, _, _ in recorder.seen] == [(e, b) for e in range(4) for b in range(3)]
    assert all(views[:4] == (epoch,) * 4 for epoch, _, _, views in recorder.seen)
    plain = data(several(), {"pairs": 4, "texts": 2}).train_dataloader()
    assert [ids for _, _, ids, _ in recorder.seen] == [tuple(batch["id"]) for _ in range(4) for batch in plain]
    assert recorder.validated.count("pairs/s50") == 5  # once before training


@pytest.mark.parametrize(
    ("save", "workers"),
    [
        ((SaveAt, 0, 0), 0),
        ((SaveAt, 2, 1), 0),
        ((SaveAt, 2, 1), 2),
        ((SaveAt, 1, 2), 0),
        ((SaveAt, 1), 0),
        ((SaveAt, 1), 2),
        ((SaveAt, 0), 0),
        ((SaveAfterValidation, 1), 0),
    ],
)
def test_lightning_resumes_exactly(tmp_path, save, workers):
    kind, *place = save
    path = tmp_path / "last.ckpt"
    whole = Recorder()
    fit(whole, data(several(), {"pairs": 4, "texts": 2}), tmp_path, callbacks=[kind(path, *place)])
    resumed = Recorder()
    fit(resumed, data(several(), {"pairs": 4, "texts": 2}, workers=workers), tmp_path, path)
    done = place[0] * 3 + (place[1] + 1 if len(place) > 1 else 3)
    assert resumed.seen == whole.seen[done:]
    assert torch.equal(resumed.weight, whole.weight)


def test_lightning_resumes_shards_exactly(tmp_path):
    for shard in range(3):
        write_shard(tmp_path / f"{shard}.tar", {f"x{shard}_{n}": {"txt": f"{n} of {shard}"} for n in range(5)})

    def shards():
        return data(WebDataset(f"{tmp_path}/{{0..2}}.tar"), 2)

    whole, resumed = Recorder(), Recorder()
    fit(whole, shards(), tmp_path, callbacks=[SaveAt(tmp_path / "last.ckpt", 1, 3)])
    fit(resumed, shards(), tmp_path, tmp_path / "last.ckpt")
    assert len(whole.seen) == 4 * 7
    assert resumed.seen == whole.seen[7 + 4 :]


def test_a_position_that_is_set_is_trained_from(tmp_path):
    whole = Recorder()
    fit(whole, data(several(), {"pairs": 4, "texts": 2}), tmp_path)
    made = data(several(), {"pairs": 4, "texts": 2})
    made.position(2, 1)
    loader = made.train_dataloader()
    assert [tuple(batch["id"]) for batch in loader] == [ids for epoch, batch, ids, _ in whole.seen[7:9]]
    made.position(1, 2)
    assert [tuple(batch["id"]) for batch in loader] == [whole.seen[5][2]]


def test_fewer_batches_than_an_epoch_has_begin_the_next_pass(tmp_path):
    recorder = Recorder()
    fit(recorder, data(several(), {"pairs": 4, "texts": 2}), tmp_path, limit_train_batches=2, max_epochs=3)
    assert [(epoch, batch, views[0]) for epoch, batch, _, views in recorder.seen] == [
        (epoch, batch, epoch) for epoch in range(3) for batch in range(2)
    ]


@pytest.mark.parametrize("max_steps", [3, 4, 5])
def test_a_second_fit_begins_anew(tmp_path, max_steps):
    made = data(several(), {"pairs": 4, "texts": 2})
    first, second = Recorder(), Recorder()
    for recorder in (first, second):
        fit(recorder, made, tmp_path, max_epochs=-1, max_steps=max_steps)
    assert first.seen == second.seen
    assert len(first.seen) == max_steps


def test_training_without_a_val_split(tmp_path):
    recorder = Recorder()
    fit(recorder, data(Held(train=pairs(8))), tmp_path, max_epochs=2)
    assert len(recorder.seen) == 4
    assert recorder.validated == []


def test_a_bad_sample_ends_lightnings_run_as_an_input_error(tmp_path):
    write_pictures(tmp_path, [f"{n}.png" for n in range(4)])
    (tmp_path / "a.csv").write_text("image,caption\n" + "".join(f"{n}.png,text {n}\n" for n in range(5)))
    for workers in (0, 2):
        with pytest.raises(InputError) as error:
            fit(Recorder(), data(PairTable(tmp_path / "a.csv"), 5, workers=workers), tmp_path)
        for part in ("a.csv, row 5", "4.png", "there is no such file", "bad_samples: skip"):
            assert part in str(error.value)
    recorder = Recorder()
    fit(recorder, data(PairTable(tmp_path / "a.csv"), 5, bad_samples="skip"), tmp_path, max_epochs=1)
    assert sorted(recorder.seen[0][2]) == ["1", "2", "3", "4"]


class Failing(Recorder):
    """Fails in its second step."""

    def training_step(self, batch, batch_idx):
        if batch_idx:
            raise FloatingPointError("not finite")
        return super().training_step(batch, batch_idx)


def test_no_worker_outlives_a_run_however_it_ends(tmp_path):
    made = data(several(), {"pairs": 4, "texts": 2}, workers=2)
    fit(Recorder(), made, tmp_path, max_epochs=1)
    assert multiprocessing.active_children() == []
    with pytest.raises(FloatingPointError):
        fit(Failing(), made, tmp_path, max_epochs=1)
    assert multiprocessing.active_children() == []


def test_a_data_module_can_be_pickled():
    made = data(workers=2)
    expected = [batch["id"] for batch in made.train_dataloader()]
    again = pickle.loads(pickle.dumps(made))
    assert [batch["id"] for batch in again.train_dataloader()] == expected
    for each in (made, again):
        each.teardown("fit")


def test_a_model_that_reads_what_the_batches_lack_is_refused():
    data = ImageTextDataModule(Held(train=pairs(2)), 2)
    with pytest.raises(InputError, match=r"the student reads audio, and ImageTextDataModule has image and text alone"):
        data.use({"student": Preprocess(audio=len)})
