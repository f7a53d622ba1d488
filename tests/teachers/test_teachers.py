import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from kdmm.errors import InputError
from kdmm.models import BagOfTokens, Chunked, ConvImage, DualEncoder, Tapped, TimmImage, save_model
from kdmm.models.preprocess import Preprocess
from kdmm.teachers import FromRun, Frozen, Precomputed
from kdmm.views import EVAL_VIEW
from tests.conftest import MINILM


class Batchy(nn.Module):
    """A teacher with everything that training could move: batch norm, dropout, a parameter."""

    preprocess = Preprocess()

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.dropout = nn.Dropout(0.5)

    def forward(self, batch):
        return {"image": self.dropout(self.norm(self.linear(batch["image"])))}


class Holder(nn.Module):
    def __init__(self, teacher):
        super().__init__()
        self.student = nn.Linear(3, 2)
        self.teacher = teacher


def test_nothing_that_trains_the_holder_reaches_the_teacher():
    model = Batchy()
    holder = Holder(Frozen(model)).train()
    before = copy.deepcopy(model.state_dict())
    batch = {"image": torch.randn(5, 3)}
    first, second = holder.teacher(batch)["image"], holder.teacher(batch)["image"]
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert not model.training
    assert not model.norm.training
    holder.requires_grad_(True)
    assert not any(p.requires_grad for p in model.parameters())
    assert set(holder.state_dict()) == {"student.weight", "student.bias"}
    assert len(list(holder.parameters())) == 2
    assert not list(holder.teacher.buffers())
    holder.load_state_dict(holder.state_dict(), strict=True)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_teacher_has_a_precision_of_its_own():
    model, batch = Batchy(), {"image": torch.randn(5, 3)}
    exact = Frozen(copy.deepcopy(model))(batch)["image"]
    rough = Frozen(copy.deepcopy(model), precision="bfloat16")(batch)["image"]
    with torch.autocast("cpu", torch.bfloat16):
        expected = copy.deepcopy(model).eval()(batch)["image"].float()
        still_exact = Frozen(copy.deepcopy(model), precision="float32")(batch)["image"]
        as_the_trainer = Frozen(copy.deepcopy(model))(batch)["image"]
    assert rough.dtype == torch.float32
    assert torch.equal(rough, expected)
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0.02)
    assert torch.equal(still_exact, exact)
    assert torch.equal(as_the_trainer.float(), expected)


def test_the_teacher_moves_with_its_holder():
    model = Batchy()
    holder = Holder(Frozen(model)).to(torch.float64)
    assert model.linear.weight.dtype == torch.float64
    Holder(Frozen(model)).to("meta")
    assert model.linear.weight.device.type == "meta"
    assert holder.teacher.online() is holder.teacher


def test_a_random_teacher_is_refused(tmp_path):
    model = DualEncoder(TimmImage("tf_efficientnet_lite0", 32, stages=1), BagOfTokens(MINILM, 8), 8)
    with pytest.raises(InputError, match="a random teacher teaches nothing"):
        Frozen(model)
    with pytest.raises(InputError, match="There is no run"):
        FromRun(str(tmp_path / "nothing"))
    (tmp_path / "begun").mkdir()
    with pytest.raises(InputError, match="is not finished"):
        FromRun(str(tmp_path / "begun"))


class FakeData:
    """Three samples with two captions between them; a view shifts the picture's mean."""

    fingerprint = "fake"
    ids = ("a", "b", "c")

    def __init__(self, views=2):
        self.views = views
        self.asked = 0

    def texts(self, splits):
        return ["red", "a blue bird"]

    def views_loader(self, split, views, preprocess, batch_size):
        self.asked += 1
        for view in views:
            rows = torch.stack([self.picture(sample, view) for sample in self.ids])
            yield {"id": list(self.ids), "view": [view] * 3, "image": rows}

    @classmethod
    def picture(cls, sample, view):
        generator = torch.Generator().manual_seed(100 * cls.ids.index(sample) + view + 1)
        return torch.randn(3, 32, 32, generator=generator)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    tree = {
        "_target_": "kdmm.models.DualEncoder",
        "image": {"_target_": "kdmm.models.TimmImage", "name": "tf_efficientnet_lite0", "image_size": 32, "stages": 2},
        "text": {"_target_": "kdmm.models.BagOfTokens", "tokenizer": MINILM, "embedding_width": 8},
        "embed_dim": 8,
    }
    model = DualEncoder(TimmImage("tf_efficientnet_lite0", 32, stages=2), BagOfTokens(MINILM, 8), 8)
    folder = tmp_path_factory.mktemp("teacher-run")
    save_model(folder / "teacher.safetensors", model, tree)
    return folder


def ask(views):
    return {
        "id": ["c", "a", "b"],
        "view": views,
        "caption": ["a blue bird", None, "red"],
        "present/image": torch.tensor([True, True, False]),
        "present/text": torch.tensor([True, False, True]),
    }


def test_precomputed_answers_equal_the_running_teachers(trained, tmp_path):
    online = FromRun(str(trained))
    stored = Precomputed(online, views=3, store=str(tmp_path), batch_size=2)
    data = FakeData(views=3)
    stored.prepare(data, ["train", "val"])
    for views in ([2, 0, 1], [EVAL_VIEW, 1, EVAL_VIEW]):
        batch = ask(views)
        answer = stored(batch)
        images = torch.stack([data.picture("c", views[0]), data.picture("a", views[1])])
        texts = online.preprocess.text(["a blue bird", "red"])
        flags = {name: batch[name] for name in ("present/image", "present/text")}
        expected = online({"image": images, "text": texts, **flags})
        assert set(answer) == set(expected)
        for name, value in expected.items():
            torch.testing.assert_close(answer[name], value, atol=1e-6, rtol=1e-5)


def test_stored_answers_are_read_back_and_belong_to_one_teacher(trained, tmp_path):
    first = Precomputed(FromRun(str(trained)), views=2, store=str(tmp_path))
    first.prepare(FakeData(), ["train"])
    again, data = Precomputed(FromRun(str(trained)), views=2, store=str(tmp_path)), FakeData()
    again.prepare(data, ["train"])
    assert data.asked == 0
    batch = ask([1, 0, 1])
    assert all(torch.equal(value, first(batch)[name]) for name, value in again(batch).items())
    other = FromRun(str(trained))
    other.model.log_logit_scale.data.add_(1e-3)
    changed, data = Precomputed(other, views=2, store=str(tmp_path)), FakeData()
    changed.prepare(data, ["train"])
    assert data.asked == 1
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert not list(tmp_path.glob("*.partial"))


def test_what_was_not_computed_is_named(trained):
    stored = Precomputed(FromRun(str(trained)), views=2)
    stored.prepare(FakeData(), ["train"])
    with pytest.raises(InputError, match=r"no image \('c', 2\).*views: 2"):
        stored(ask([2, 0, 1]))
    with pytest.raises(InputError, match="at least 1 view"):
        Precomputed(FromRun(str(trained)), views=0)


@pytest.mark.parametrize("views", [3, 1, None])
def test_another_number_of_views_is_named_before_anything_is_computed(trained, views):
    data = FakeData(views)
    stored = Precomputed(FromRun(str(trained)), views=2)
    with pytest.raises(InputError, match=rf"DataModule has `views: {views or 'null'}`.*has `views: 2`"):
        stored.prepare(data, ["train", "val"])
    assert data.asked == 0
    stored.prepare(data, ["val"])  # of which the plain view alone is asked


def test_taps_are_not_computed_beforehand(trained):
    taps = {"s": "towers.image.trunk.blocks.0"}
    with pytest.raises(InputError, match=r"Precomputed\.teacher has `taps`"):
        Precomputed(FromRun(str(trained), taps), views=2)
    teacher = FromRun(str(trained), taps)
    batch = {"image": torch.randn(2, 3, 32, 32), "present/image": torch.tensor([True, False, True])}
    outputs = teacher(batch)
    assert outputs["present/s"].tolist() == [True, False, True]
    assert not outputs["s"].requires_grad
    assert torch.equal(outputs["image"], FromRun(str(trained))(batch)["image"])


def test_a_random_model_is_refused_behind_its_taps():
    model = DualEncoder(TimmImage("tf_efficientnet_lite0", 32, stages=1), BagOfTokens(MINILM, 8), 8)
    with pytest.raises(InputError, match="a random teacher teaches nothing"):
        Frozen(Tapped(model, {"s": "towers.image.trunk.blocks.0"}))


def test_a_random_model_is_refused_in_parts_and_a_trained_one_taken(tmp_path):
    tree = {
        "_target_": "kdmm.models.DualEncoder",
        "image": {"_target_": "kdmm.models.ConvImage", "widths": [4], "image_size": 8},
        "text": {"_target_": "kdmm.models.BagOfTokens", "tokenizer": MINILM, "embedding_width": 4},
        "embed_dim": 5,
    }
    model = Chunked(DualEncoder(ConvImage([4], 8), BagOfTokens(MINILM, 4), 5), 2)
    with pytest.raises(InputError, match="a random teacher teaches nothing"):
        Frozen(model)
    save_model(tmp_path / "student.safetensors", model, {"_target_": "kdmm.models.Chunked", "model": tree, "size": 2})
    batch = {"image": torch.randn(3, 3, 8, 8), "present/image": torch.tensor([True, True, True])}
    torch.testing.assert_close(FromRun(str(tmp_path))(batch)["image"], model.eval()(batch)["image"])


@pytest.mark.parametrize("size", [1, 2, 4, 9])
@pytest.mark.parametrize("precision", [None, "bfloat16"])
def test_a_batch_in_parts_is_answered_as_the_whole(trained, size, precision):
    taps = {"s": "towers.image.trunk.blocks.0"}
    whole, parts = (FromRun(str(trained), taps, precision=precision, size=each) for each in (None, size))
    texts = whole.preprocess.text(["red", "a blue bird", "nothing"])
    counts = []
    parts.model.register_forward_hook(lambda model, inputs, outputs: counts.append(len(outputs["image"])))
    for here in ("11111", "11100", "00110", "00000"):
        flag = torch.tensor([each == "1" for each in here])
        batch = {
            "image": torch.randn(int(flag.sum()), 3, 32, 32),
            "present/image": flag,
            "text": texts,
            "present/text": torch.tensor([False, True, False, True, True]),
            "id": list("abcde"),
        }
        counts.clear()
        found, expected = parts(batch), whole(batch)
        assert counts == [min(size, 5 - first) for first in range(0, 5, size)]
        assert found.keys() == expected.keys()
        for name, x in expected.items():
            torch.testing.assert_close(found[name], x, atol=1e-6 if precision is None else 0.02, rtol=1e-5)


def test_parts_of_no_samples_are_refused(trained):
    with pytest.raises(InputError, match=r"teacher.size: 0 given; give 1 or more samples"):
        FromRun(str(trained), size=0)


def test_a_run_built_from_a_users_package_needs_its_name(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "packages"))
    save_model(tmp_path / "student.safetensors", nn.Linear(2, 2), {"_target_": "toybox.Net", "width": 2})
    with pytest.raises(InputError, match=r"toybox\.Net.*not in an allowed namespace"):
        FromRun(str(tmp_path))
    with pytest.raises(InputError, match="does not fit the model"):  # so it was built
        FromRun(str(tmp_path), allow=["toybox"])


def test_a_damaged_store_is_named(trained, tmp_path):
    Precomputed(FromRun(str(trained)), views=1, store=str(tmp_path)).prepare(FakeData(1), ["train"])
    path = next(tmp_path.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="is damaged"):
        Precomputed(FromRun(str(trained)), views=1, store=str(tmp_path)).prepare(FakeData(1), ["train"])
