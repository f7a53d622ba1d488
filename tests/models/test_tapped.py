import copy
import pickle
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint
from transformers import BertConfig, BertModel

from kdmm import targets
from kdmm.distributed import rank
from kdmm.errors import InputError
from kdmm.losses import FeatureMatch
from kdmm.models import (
    BagOfTokens,
    Classifier,
    ConvImage,
    DualEncoder,
    Tap,
    Tapped,
    TimmImage,
    retapped,
    untapped,
    untapped_tree,
)
from kdmm.models.preprocess import Preprocess
from tests import two_processes
from tests.conftest import MINILM

ROOT = Path(__file__).parents[2]
Pair = namedtuple("Pair", ["first", "second"])


class Net(nn.Module):
    """A layer, then one behind which an operation works in place, checkpointed or not."""

    preprocess = Preprocess()

    def __init__(self, reentrant=None):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Linear(4, 2)
        self.unused = nn.Linear(4, 4)
        self.reentrant = reentrant

    def middle(self, x):
        return self.relu(self.second(x))

    def forward(self, batch):
        x = self.first(batch["x"])
        x = self.middle(x) if self.reentrant is None else checkpoint(self.middle, x, use_reentrant=self.reentrant)
        return {"y": self.last(x)}


def net(reentrant=None, taps=None):
    torch.manual_seed(0)
    return Tapped(Net(reentrant), taps or {"s": "second"})


X = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


def by_hand(model):
    """The tapped activation, the output and the gradients of the sum of both, written out."""
    first, second, last = model.model.first, model.model.second, model.model.last
    activation = second(first(X))
    output = last(activation.relu())
    parameters = [first.weight, second.weight, last.weight]
    return activation, output, torch.autograd.grad(activation.square().sum() + output.sum(), parameters)


def gradients(model, outputs):
    model.zero_grad()
    (outputs["s"].square().sum() + outputs["y"].sum()).backward()
    return [getattr(untapped(model), name).weight.grad for name in ("first", "second", "last")]


def assert_right(tapped, called=None):
    activation, output, expected = by_hand(tapped)
    for _ in range(2):
        outputs = (tapped if called is None else called)({"x": X})
        assert set(outputs) == {"s", "y"}
        torch.testing.assert_close(outputs["s"], activation)
        torch.testing.assert_close(outputs["y"], output)
        for found, wanted in zip(gradients(tapped, outputs), expected, strict=True):
            torch.testing.assert_close(found, wanted)


def test_an_activation_is_as_it_was_before_an_operation_in_place():
    tapped = net()
    assert_right(tapped)
    assert (tapped({"x": X})["s"] < 0).any()
    with torch.inference_mode():
        assert (tapped({"x": X})["s"] < 0).any()


def compiled(*backends):
    """Run in a process of its own: the checks of shapes in this one break up graphs."""
    for backend in backends:
        for reentrant in (None, False):
            torch._dynamo.reset()
            tapped = net(reentrant)
            # what a checkpoint computes cannot be captured in one graph with the rest
            assert_right(tapped, torch.compile(tapped, backend=backend, fullgraph=reentrant is None))
            inside = net(reentrant)
            inside.model.compile(backend=backend)
            assert_right(inside)


@pytest.mark.slow
def test_compiled():
    code = "from tests.models.test_tapped import compiled; compiled('eager', 'aot_eager', 'inductor')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_gradient_checkpointing():
    tapped = net(reentrant=False)
    assert_right(tapped)
    assert tapped._capture.found is None
    reentrant = net(reentrant=True)
    with pytest.raises(InputError, match=r"taps\.s: 'second' runs without gradient.*use_reentrant=False"):
        reentrant({"x": X})
    with pytest.raises(InputError, match="use_reentrant=False"):  # seen although the layer itself trains nothing
        net(reentrant=True, taps={"s": "relu"})({"x": X})
    with torch.no_grad(), pytest.warns(UserWarning, match="None of the inputs have requires_grad"):
        torch.testing.assert_close(reentrant({"x": X})["s"], tapped({"x": X})["s"])


class Bert(nn.Module):
    preprocess = Preprocess()

    def __init__(self):
        super().__init__()
        sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "vocab_size": 11}
        self.bert = BertModel(BertConfig(num_hidden_layers=2, **sizes), add_pooling_layer=False)

    def forward(self, batch):
        return {"text": self.bert(batch["tokens"]).last_hidden_state[:, 0]}


@pytest.mark.filterwarnings("ignore::FutureWarning")  # transformers 5 has another name for what 4 has too
def test_outputs_of_transformers_and_its_checkpointing():
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]])
    taps = {
        "by_key": {"module": "bert", "output": "last_hidden_state"},
        "by_number": {"module": "bert", "output": 0},
        "layer": Tap("bert.encoder.layer.0"),
    }
    tapped = Tapped(Bert(), taps).eval()
    outputs = tapped({"tokens": tokens})
    assert torch.equal(outputs["by_key"], outputs["by_number"])
    assert torch.equal(outputs["by_key"][:, 0], outputs["text"])
    states = tapped.model.bert(tokens, output_hidden_states=True).hidden_states
    torch.testing.assert_close(outputs["layer"], states[1])
    bert = tapped.train().model.bert
    bert.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    outputs = tapped({"tokens": tokens})
    outputs["layer"].sum().backward()
    assert bert.embeddings.word_embeddings.weight.grad.abs().sum() > 0
    bert.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    with pytest.raises(InputError, match="gradient_checkpointing_kwargs"):
        Tapped(tapped.model, {"inside": "bert.encoder.layer.0.attention.output"})({"tokens": tokens})


class Many(nn.Module):
    """Layers that give something else than one tensor, run twice, or are never called."""

    preprocess = Preprocess()

    def __init__(self):
        super().__init__()
        self.pair = Gives(lambda x: (x, 2 * x))
        self.named = Gives(lambda x: Pair(x, 3 * x))
        self.mapped = Gives(lambda x: {"a": x, "b": 4 * x})
        self.numbers = Gives(lambda x: torch.arange(len(x)))
        self.twice = nn.Identity()
        self.held = nn.ModuleList([nn.Identity()])

    def forward(self, batch):
        x = batch["x"]
        for layer in (self.pair, self.named, self.mapped, self.numbers):
            layer(x)
        return {"y": self.held[0](self.twice(self.twice(x)))}


class Gives(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("tap", "factor"),
    [
        ("pair", 1),
        ({"module": "pair", "output": 1}, 2),
        ({"module": "named", "output": "second"}, 3),
        ({"module": "named", "output": 1}, 3),
        ({"module": "mapped", "output": "b"}, 4),
        ({"module": "mapped", "output": 1}, 4),
        ({"module": "held.0"}, 1),
    ],
)
def test_which_output_is_taken(tap, factor):
    assert torch.equal(Tapped(Many(), {"t": tap})({"x": X})["t"], factor * X)


@pytest.mark.parametrize(
    ("taps", "message"),
    [
        ({"t": "twice"}, r"taps\.t: 'twice' ran 2 times in one pass"),
        ({"t": "held"}, r"taps\.t: 'held' did not run in this pass"),
        ({"y": "pair"}, r"the model itself gives 'y'.*another name"),
        ({"t": {"module": "pair", "output": 2}}, r"'pair' gives tuple \(Tensor, Tensor\), of which `output` 2"),
        ({"t": {"module": "mapped", "output": "c"}}, r"gives dict \(a: Tensor, b: Tensor\), of which `output` 'c'"),
        ({"t": {"module": "held.0", "output": 1}}, r"gives Tensor, of which `output` 1"),
        ({"t": "numbers"}, r"'numbers' gives Tensor, of which .* is no tensor of floating-point numbers"),
    ],
)
def test_what_a_pass_cannot_give_is_named(taps, message):
    with pytest.raises(InputError, match=message):
        Tapped(Many(), taps)({"x": X})


@pytest.mark.parametrize(
    ("taps", "message"),
    [
        ({}, "none are given"),
        ({"t": "sekond"}, r"taps\.t: the model has no submodule 'sekond'\. Did you mean 'second'"),
        ({"t": ""}, "no submodule ''"),
        ({"a/t": "second"}, "without '/'"),
        ({"t": {"modul": "second"}}, r"unknown argument 'modul'.*Did you mean 'module'"),
        ({"t": {"output": 1}}, "no `module` is given"),
        ({"t": {"module": "second", "modality": "imag"}}, r"'imag'.*Did you mean 'image'"),
    ],
)
def test_wrong_taps_are_named(taps, message):
    with pytest.raises(InputError, match=message):
        Tapped(Net(), taps)


IMAGE = "towers.image.trunk.blocks.0"


def dual(taps, **settings):
    torch.manual_seed(0)
    model = DualEncoder(TimmImage("tf_efficientnet_lite0", 32, stages=1), BagOfTokens(MINILM, 4), 8, **settings)
    return Tapped(model, taps).eval()


def flags(image, text):
    return {"present/image": torch.tensor(image).bool(), "present/text": torch.tensor(text).bool()}


def batch(model, image, text):
    tokens = model.preprocess.text(["a cat", "a dog", "a tree", "a bird", "a cow"])
    made = flags(image, text)
    if sum(image):
        made["image"] = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(2))[made["present/image"]]
    if sum(text):
        made["text"] = tokens[made["present/text"]]
    return made


def test_rows_are_placed_by_the_modality_that_has_as_many():
    model = dual({"i": IMAGE})
    whole = model(batch(model, [1] * 5, [1] * 5))
    assert whole["present/i"].all()
    part = model(batch(model, [1, 0, 1, 0, 1], [1, 1, 0, 1, 1]))
    assert part["present/i"].tolist() == [True, False, True, False, True]
    torch.testing.assert_close(part["i"][[0, 2, 4]], whole["i"][[0, 2, 4]])
    assert part["i"][[1, 3]].abs().max() == 0
    equal_counts = model(batch(model, [1, 0, 1, 0, 1], [1, 1, 0, 1, 0]))  # the layer's name says which
    assert torch.equal(equal_counts["present/i"], part["present/i"])
    alone = model({"image": batch(model, [1] * 5, [1] * 5)["image"]})
    torch.testing.assert_close(alone["i"], whole["i"])


def test_a_batch_without_the_modality():
    model = dual({"i": IMAGE})
    nothing = batch(model, [0] * 5, [1] * 5)
    assert "i" not in model(nothing)  # nothing has told its shape
    whole = model(batch(model, [1] * 5, [1] * 5))
    outputs = model(nothing)
    assert outputs["i"].shape == whole["i"].shape
    assert outputs["i"].abs().max() == 0
    assert not outputs["present/i"].any()
    assert not model({"text": nothing["text"]})["present/i"].any()


class Encoders(nn.Module):
    """Two encoders whose names do not say what they read."""

    def __init__(self):
        super().__init__()
        self.eye, self.ear = nn.Linear(4, 3), nn.Linear(4, 3)
        self.both = nn.Linear(4, 3)
        self.windows = nn.Linear(4, 3)
        self.preprocess = Preprocess(image=dual({"i": IMAGE}).preprocess.image, text=dual({"i": IMAGE}).preprocess.text)

    def forward(self, batch):
        outputs = {name: batch[name] for name in ("present/image", "present/text")}
        if len(batch["image"]):
            self.eye(batch["image"])
            self.windows(batch["image"].repeat(4, 1))
        if len(batch["text"]):
            self.ear(batch["text"])
        self.both(torch.zeros(len(batch["present/image"]), 4))
        return outputs


def read(image, text):
    return {"image": torch.randn(sum(image), 4), "text": torch.randn(sum(text), 4), **flags(image, text)}


def test_rows_that_may_be_of_two_modalities():
    tapped = Tapped(Encoders(), {"t": "ear"})
    ambiguous = read([1, 1, 0], [0, 1, 1])
    with pytest.raises(
        InputError, match=r"'ear' gives 2 rows, and as many samples have image and as many text.*modality"
    ):
        tapped(ambiguous)
    assert tapped(read([1, 1, 0], [1, 1, 0]))["present/t"].tolist() == [True, True, False]  # either way the same
    assert tapped(read([1, 1, 0], [0, 0, 1]))["present/t"].tolist() == [False, False, True]
    assert tapped(ambiguous)["present/t"].tolist() == [False, True, True]  # the batch before has told
    stated = Tapped(Encoders(), {"t": Tap("ear", modality="text")})
    assert stated(ambiguous)["present/t"].tolist() == [False, True, True]
    assert not stated(read([1, 1, 0], [0, 0, 0]))["present/t"].any()
    wrong = Tapped(Encoders(), {"t": Tap("ear", modality="image")})
    with pytest.raises(InputError, match=r"\(1, 3\).*3 samples, 2 with image, 1 with text.*correct the tap's modality"):
        wrong(read([1, 1, 0], [0, 0, 1]))


def test_rows_of_every_sample_and_rows_of_none():
    both = Tapped(Encoders(), {"t": "both"})(read([1, 1, 0], [0, 0, 1]))
    assert both["t"].shape == (3, 3)
    assert both["present/t"].all()
    with pytest.raises(InputError, match=r"\(8, 3\).*Tap a layer whose first dimension is the samples\."):
        Tapped(Encoders(), {"t": "windows"})(read([1, 1, 0], [0, 0, 1]))


def test_a_model_that_reads_one_modality_is_never_ambiguous():
    torch.manual_seed(0)
    tapped = Tapped(Classifier(ConvImage([4, 6], 8), 3), {"t": "tower.blocks.0"})
    outputs = tapped({"image": torch.randn(2, 3, 8, 8), **flags([1, 1, 0], [0, 1, 1])})
    assert outputs["t"].shape == (3, 4, 4, 4)
    assert outputs["present/t"].tolist() == [True, True, False]


def test_locked_towers_have_no_gradient_and_may_be_tapped():
    model = dual({"i": IMAGE, "last": "projections.image"}, freeze=["image"]).train()
    outputs = model(batch(model, [1] * 5, [1] * 5))
    assert not outputs["i"].requires_grad
    assert outputs["last"].requires_grad


def test_a_copy_has_a_capture_of_its_own_and_hooks_can_be_taken_off():
    tapped = net()
    for other in (copy.deepcopy(tapped), pickle.loads(pickle.dumps(tapped))):
        other.model.second.weight.data.zero_()
        assert torch.equal(other({"x": X})["s"], other.model.second.bias.expand(3, 4))
        assert not torch.equal(tapped({"x": X})["s"], other({"x": X})["s"])
    plain = untapped(tapped)
    plain({"x": X})
    assert tapped._capture.found is None
    tapped.remove()
    assert not plain.second._forward_hooks


def test_the_plain_model_and_its_tree():
    plain = {"_target_": "toybox.Net", "width": 3}
    tree = {"_target_": "kdmm.models.Tapped", "model": plain, "taps": {"s": "second"}}
    twice = {"_target_": "kdmm.models.tapped.Tapped", "model": tree, "taps": {"f": "model.first"}}
    assert untapped_tree(twice) == untapped_tree(tree) == untapped_tree(plain) == plain
    model = Net()
    assert untapped(model) is model
    again = retapped(model, twice)
    assert untapped(again) is model
    assert {"s", "f", "y"} == set(again({"x": X}))
    assert retapped(model, plain) is model


def test_what_it_gives_is_known_before_it_is_built():
    node = {"_target_": "kdmm.models.Tapped", "model": {"_target_": "kdmm.models.DualEncoder"}, "taps": {"s": "second"}}
    assert targets.gives(node) == DualEncoder.gives | {"s"}
    assert targets.gives({**node, "taps": None}) is None
    assert targets.gives({**node, "model": {"_target_": "torch.nn.Identity"}}) is None
    built = targets.build(
        {
            "_target_": "kdmm.models.Tapped",
            "model": {
                "_target_": "kdmm.models.Classifier",
                "tower": {"_target_": "kdmm.models.ConvImage", "widths": [4]},
                "classes": 2,
            },
            "taps": {
                "a": "tower.blocks.0",
                "b": {"module": "head", "output": 0},
                "c": {"_target_": "kdmm.models.Tap", "module": "tower"},
            },
        }
    )
    assert set(built.taps.values()) == {Tap("tower.blocks.0"), Tap("head"), Tap("tower")}


def steps_of_a_tapped_model() -> dict[str, object]:
    """Two steps under DDP, each rank with its own rows."""
    tapped = net()
    tapped.model.unused.requires_grad_(False)
    ddp = DistributedDataParallel(tapped)
    term = FeatureMatch("s", "t", "mse")
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(3))
    teacher = torch.randn(5, 4, generator=torch.Generator().manual_seed(4))
    here = slice(0, 3) if rank() == 0 else slice(3, 5)
    optimizer = torch.optim.SGD(tapped.parameters(), 0.1)
    for _ in range(2):
        outputs = ddp({"x": x[here]})
        loss = term(outputs, {"t": teacher[here]}, {}) + 0.0 * outputs["y"].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name: value.detach() for name, value in tapped.named_parameters()}


def test_two_processes_are_one(tmp_path):
    ranks = two_processes.run(steps_of_a_tapped_model, tmp_path)
    tapped = net()
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(3))
    teacher = torch.randn(5, 4, generator=torch.Generator().manual_seed(4))
    optimizer = torch.optim.SGD(tapped.parameters(), 0.1)
    for _ in range(2):
        outputs = tapped({"x": x})
        optimizer.zero_grad()
        FeatureMatch("s", "t", "mse")(outputs, {"t": teacher}, {}).backward()
        optimizer.step()
    for name, value in tapped.named_parameters():
        for found in ranks:
            torch.testing.assert_close(found[name], value.detach(), atol=1e-6, rtol=1e-5)
