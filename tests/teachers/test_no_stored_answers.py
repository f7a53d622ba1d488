"""What stored answers cannot stand for is refused, or the teacher runs."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from kdmm.callbacks import Mix
from kdmm.data import MultimodalDataModule
from kdmm.errors import InputError
from kdmm.models import ConvImage
from kdmm.models.preprocess import Preprocess
from kdmm.teachers import Cached, Ensemble, Frozen, Hybrid, Precomputed
from kdmm.views import MIXED_VIEW
from tests.data.files import Held, pairs
from tests.parallel import Phrases, translator
from tests.teachers.cache import small
from tests.teachers.test_every_way import classifier, spots


def pictures(views=2):
    return MultimodalDataModule(Held(train=[replace(each, captions=()) for each in pairs(6)]), 3, views=views)


def mixed(of):
    """A batch that was mixed, and what a teacher says of it."""
    data = pictures()
    of.prepare(data, ("train",))
    data.use({"student": small.two_towers().preprocess, **of.preprocesses})
    batch = next(iter(data.train_dataloader()))
    Mix(mixup=1.0).on_train_batch_start(None, None, batch, 0)
    return batch, of.answer(batch)


def test_stored_answers_are_none_to_mixed_pictures(tmp_path):
    store = str(tmp_path / "store")
    small.write(tmp_path / "store", small.teacher(), pictures(), splits=("train",))
    several = {"a": Cached(store), "b": small.teacher(3)}
    for of in (Cached(store), Precomputed(small.teacher(), 2), Ensemble(several)):
        with pytest.raises(InputError, match=r"does not read the image of this batch and cannot see it mixed"):
            mixed(of)
    batch, found = mixed(Hybrid(store, small.teacher()))  # which runs instead
    assert set(batch["teacher"]["view"]) == {MIXED_VIEW}
    expected = small.teacher().answer({"teacher": batch["student"]})
    torch.testing.assert_close(found["image"], expected["image"], atol=1e-6, rtol=1e-5)


class Fused(nn.Module):
    """Says something else of a picture where a caption stands beside it."""

    preprocess = Preprocess(small.ConvImage([4], 8).preprocess, small.Letters())

    def __init__(self):
        super().__init__()
        self.model = small.two_towers()

    def forward(self, batch):
        outputs = self.model(batch)
        return {**outputs, "image": outputs["image"] + outputs["text"]}


def test_what_depends_on_what_stands_beside_it_is_refused(tmp_path):
    online, source = Frozen(Fused()), small.data(small.held())
    with pytest.raises(InputError, match=r"what the teacher says as 'image' of image changes with what stands beside"):
        small.write(tmp_path / "all", online, source)
    store = small.write(tmp_path / "some", online, source, outputs=("text",))
    assert set(store.tables) == {"teacher.text"}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: classifier(lambda: ConvImage([4], 8)), r"Classifier gives no embeddings of image alone, but logits"),
        (lambda: small.Pair("image"), r"Pair gives no embeddings of image alone, but logits.*kdmm cache"),
        (lambda: spots(4).model, r"Spots gives no embeddings of image alone, but class_logits"),
    ],
)
def test_what_is_no_embedding_is_not_precomputed(model, said):
    with pytest.raises(InputError, match=f"Precomputed.teacher: {said}"):
        Precomputed(Frozen(model()), 2).prepare(pictures(), ("train",))


@pytest.mark.parametrize("of", [Cached, lambda store: Precomputed(small.teacher(), 2)])
@pytest.mark.parametrize("views", [3, None])
def test_views_that_nobody_answered_are_refused(of, views, tmp_path):
    small.write(tmp_path / "store", small.teacher(), pictures(), splits=("train",))
    with pytest.raises(InputError, match=rf"DataModule has `views: {views or 'null'}`.* 2"):
        of(str(tmp_path / "store")).prepare(pictures(views), ("train",))


def test_models_of_equal_weights_and_other_settings_have_answers_of_their_own(tmp_path):
    found = []
    for stride in (1, 2):
        online = small.teacher()
        online.model.towers.image.blocks[1][0].stride = (stride, stride)
        of = Precomputed(online, 2, str(tmp_path))
        data = pictures()
        of.prepare(data, ("train",))
        data.use({"student": small.two_towers().preprocess, **of.preprocesses})
        found.append(of.answer(next(iter(data.train_dataloader())))["image"])
    assert not torch.equal(*found)


def test_an_ensemble_of_stored_translators_reads_what_was_translated(tmp_path):
    data = MultimodalDataModule(Phrases(), 3)
    online = Frozen(translator())
    small.write(tmp_path / "store", online, data, splits=("train",))
    several = Ensemble({"a": Cached(str(tmp_path / "store")), "b": online})
    data.use({"student": translator().preprocess, **several.preprocesses})
    found = several.answer(next(iter(data.train_dataloader())))
    torch.testing.assert_close(found["a/logits"], found["b/logits"], atol=1e-5, rtol=1e-5)
