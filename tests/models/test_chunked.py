"""A batch in parts against the same batch at once."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.autograd.profiler import profile

from kdmm import targets
from kdmm.errors import InputError
from kdmm.losses import Affinity, Contrastive, FeatureMatch, GradNorm, Objective
from kdmm.models import BagOfTokens, ConvImage, DualEncoder, Plain, Preprocess, Tapped
from kdmm.models.chunked import Chunked
from kdmm.models.parts import parts_of
from kdmm.outputs import scatter_present
from tests.conftest import MINILM
from tests.losses.data import flags, unit

B, RAW, D = 11, 4, 5
PAIR = ["image", "text"]
SIZES = [1, 3, 4, B, 100]
PRESENT = {
    "all": ("1" * B, "1" * B),
    "uneven": ("11010110111", "00111110101"),
    "images first": ("11111110000", "00000001111"),  # parts without any image, and parts without any text
    "no text": ("1" * B, "0" * B),
}


class Net(nn.Module):
    """A tower a modality on the rows that have it, a scale, and a number for each sample."""

    preprocess = Preprocess()

    def __init__(self, norm=nn.LayerNorm, dropout=0.0, hidden=6):
        super().__init__()
        torch.manual_seed(0)
        self.towers = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(RAW, hidden), norm(hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, D)
                )
                for name in PAIR
            }
        )
        self.log_scale = nn.Parameter(torch.tensor(2.0))
        self.calls = 0

    def forward(self, batch):
        self.calls += 1
        outputs = {"logit_scale": self.log_scale.exp()}
        for name, tower in self.towers.items():
            flag = batch[f"present/{name}"]
            if name in batch:
                rows = F.normalize(tower(batch[name]), dim=1)
            else:
                assert not flag.any(), "a batch leaves out what no sample has, and nothing else"
                rows = self.log_scale.new_zeros(0, D)
            outputs |= {name: scatter_present(rows, flag), f"present/{name}": flag}
        return {**outputs, "length": torch.tensor([float(len(each)) for each in batch["id"]])}


def batch_of(case="all", dtype=torch.float64, rows=B):
    batch = {"id": ["x" * row for row in range(rows)], "view": list(range(rows))}
    for seed, (name, present) in enumerate(zip(PAIR, PRESENT[case], strict=True)):
        flag = flags(present * rows)[:rows]
        batch[f"present/{name}"] = flag
        if flag.any():
            batch[name] = unit(rows, RAW, seed, dtype)[flag]
    return batch


def teacher_of(batch, dtype=torch.float64):
    there = {name: flag for name, flag in batch.items() if name.startswith("present/")}
    rows = len(batch["id"])
    embeddings = {name: unit(rows, D, seed, dtype) for seed, name in enumerate(PAIR, 5)}
    return {**embeddings, **there, "logit_scale": torch.tensor(9.0, dtype=dtype)}


def objective(tile=None):
    return Objective({"hard": Contrastive(PAIR, tile=tile), "soft": Affinity(PAIR, tile=tile)})


def outcome(model, batch, goal, dtype=torch.float64):
    model.zero_grad()
    outputs = model(batch)
    loss, _ = goal(outputs, teacher_of(batch, dtype), {})
    loss.backward()
    gradients = {name.removeprefix("model."): p.grad for name, p in model.named_parameters()}
    return {"loss": loss.detach(), **{k: x.detach() for k, x in outputs.items()}}, gradients


def same(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        assert (x is None) == (found[name] is None), name
        if x is not None:
            torch.testing.assert_close(
                found[name], x, rtol=tolerance, atol=tolerance, msg=lambda t, n=name: f"{n}: {t}"
            )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", PRESENT)
@pytest.mark.parametrize("tile", [None, 4])
def test_outputs_value_and_every_gradient_are_those_of_the_batch_at_once(size, case, tile):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        net, batch, goal = Net().to(dtype), batch_of(case, dtype), objective(tile)
        expected = outcome(net, batch, objective(), dtype)
        found = outcome(Chunked(copy.deepcopy(net), size), batch, goal, dtype)
        for ours, theirs in zip(found, expected, strict=True):
            same(ours, theirs, tolerance)
    assert expected[1]["log_scale"].abs() > 1e-3 or case == "no text"


def test_a_dual_encoder_of_pictures_and_captions():
    torch.manual_seed(0)
    dual = DualEncoder(ConvImage([4, 4], 32), BagOfTokens(MINILM, 4), 8, init_logit_bias=-3.0)
    texts = dual.preprocess.text(["a red square", "two green discs", "nothing", "a corner"])
    batch = {"image": torch.randn(6, 3, 32, 32), "text": texts, "present/image": flags("1101111")}
    batch["present/text"] = flags("0110101")
    for part in dual.modules():  # frozen statistics; those of a part would be others
        part.train(not isinstance(part, nn.BatchNorm2d))
    goal = Objective({"soft": Contrastive(PAIR), "sigmoid": Contrastive(PAIR, form="sigmoid")})
    found = []
    for model in (dual, Chunked(copy.deepcopy(dual), 2)):
        outputs = model(batch)
        loss, _ = goal(outputs, {}, {})
        loss.backward()
        gradients = {name.removeprefix("model."): p.grad for name, p in model.named_parameters()}
        found.append({"loss": loss.detach(), **gradients})
    same(found[1], found[0], 1e-5)  # float32
    assert all(x.abs().sum() > 0 for x in found[0].values())


def by_hand(net, batch, size):
    """The parts one after the other, with all their activations."""
    outputs = [net(part) for _, part in parts_of(batch, size)]
    return {name: x if x.ndim == 0 else torch.cat([each[name] for each in outputs]) for name, x in outputs[0].items()}


def test_dropout_is_the_same_when_a_part_is_run_again():
    batch, goal = batch_of("uneven"), objective()
    net = Net(dropout=0.5).double()
    chunked = Chunked(copy.deepcopy(net), 3)
    torch.manual_seed(7)
    found = outcome(chunked, batch, goal)
    drawn = torch.rand(3)
    torch.manual_seed(7)
    expected = by_hand(net, batch, 3)
    loss, _ = goal(expected, teacher_of(batch), {})
    loss.backward()
    assert torch.equal(drawn, torch.rand(3))  # the second run draws nothing
    assert torch.equal(found[0]["loss"], loss)
    same(found[1], {name: p.grad for name, p in net.named_parameters()}, 1e-12)
    torch.manual_seed(8)
    assert not torch.equal(outcome(chunked, batch, goal)[0]["loss"], loss)


def test_the_gradient_with_dropout_is_numerically_right():
    chunked, batch = Chunked(Net(dropout=0.3).double(), 4), batch_of("uneven")

    def function(*_):
        torch.manual_seed(3)
        outputs = chunked(batch)
        return outputs["image"], outputs["text"], outputs["logit_scale"]

    assert torch.autograd.gradcheck(function, tuple(chunked.parameters()), fast_mode=True)


def test_running_statistics_move_once_a_part():
    batch, goal = batch_of("uneven"), objective()
    net = Net(norm=nn.BatchNorm1d).double()
    chunked = Chunked(copy.deepcopy(net), 6)
    _, gradients = outcome(chunked, batch, goal)
    loss, _ = goal(by_hand(net, batch, 6), teacher_of(batch), {})
    loss.backward()
    same(gradients, {name: p.grad for name, p in net.named_parameters()}, 1e-12)
    moved = dict(chunked.model.named_buffers())
    same(moved, dict(net.named_buffers()), 0.0)
    assert moved["towers.image.1.num_batches_tracked"] == 2
    at_once = Net(norm=nn.BatchNorm1d).double()
    whole = outcome(at_once, batch, goal)[1]
    assert (whole["towers.image.0.weight"] - gradients["towers.image.0.weight"]).abs().max() > 1e-3


def test_a_backward_pass_may_be_repeated():
    net, batch, goal = Net(norm=nn.BatchNorm1d).double(), batch_of(), objective()
    chunked = Chunked(net, 4)
    loss, _ = goal(chunked(batch), teacher_of(batch), {})
    first = torch.autograd.grad(loss, net.towers["image"][0].weight, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(loss, net.towers["image"][0].weight)[0])


def test_each_part_runs_once_more_and_only_for_a_gradient():
    batch, goal = batch_of(), objective()
    chunked = Chunked(Net().double(), 4)
    with torch.no_grad():
        outputs = chunked(batch)
    assert chunked.model.calls == 3
    assert not outputs["image"].requires_grad
    outcome(chunked, batch, goal)
    assert chunked.model.calls == 3 + 2 * 3
    whole = Chunked(Net().double(), B)
    outcome(whole, batch, goal)
    assert whole.model.calls == 1  # one part is as large as the batch


def test_a_weighting_looks_at_the_outputs_without_running_a_part_again():
    batch = batch_of()
    found = []
    for model in (Net().double(), Chunked(Net().double(), 3)):
        torch.manual_seed(0)
        goal = Objective({"hard": Contrastive(PAIR, tile=4), "soft": Affinity(PAIR, tile=4)}, GradNorm(lr=0.1)).double()
        steps = [outcome(model, batch, goal)[1] for _ in range(3)]
        found.append({**steps[-1], "weights": torch.tensor(list(goal.weights().values()))})
    same(found[1], found[0], 1e-10)
    assert model.model.calls == 3 * 2 * 4


def peak(work):
    """The most bytes of tensors at a time, beyond those before."""
    with profile(profile_memory=True) as found:
        work()
    held = most = 0
    for event in sorted(found.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def test_activations_of_one_part_are_held_at_a_time():
    rows, hidden, goal = 512, 256, objective(64)
    batch = batch_of(dtype=torch.float32, rows=rows)
    net = Net(hidden=hidden)
    kept = {}

    def held_for_backward(model):
        kept.clear()

        def pack(x):
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with saved_tensors_hooks(pack, lambda x: x):
            model(batch)
        return sum(kept.values())

    activations = rows * hidden * 4  # bytes of one layer
    assert held_for_backward(net) > 6 * activations
    assert held_for_backward(Chunked(net, 32)) < activations / 2
    whole, parts = (peak(lambda m=model: outcome(m, batch, goal, torch.float32)) for model in (net, Chunked(net, 32)))
    assert parts < whole / 4


def test_taps_inside():
    batch, teacher = batch_of("images first"), unit(B, 6, 9)
    found = []
    for size in (None, 3):
        torch.manual_seed(0)
        tapped = Tapped(Net().double(), {"s": {"module": "towers.text.2", "modality": "text"}})
        model = tapped if size is None else Chunked(tapped, size)
        outputs = model(batch)  # of parts without text before a first one with some, the tap knows no shape
        assert torch.equal(outputs["present/s"], batch["present/text"])
        term = FeatureMatch("s", "t", "mse")
        loss = term(outputs, {"t": teacher}, {})
        loss.backward()
        gradients = {name: p.grad for name, p in tapped.model.named_parameters()}
        found.append({"loss": loss.detach(), "s": outputs["s"].detach(), **gradients})
    same(found[1], found[0], 1e-12)


def test_a_plain_model_of_several_inputs():
    torch.manual_seed(0)

    class Sum(nn.Linear):
        def forward(self, x, more, factor):
            return super().forward(x) + factor * more["y"]

    plain = Plain(Sum(RAW, D))
    inputs = (unit(B, RAW, 1, torch.float32), {"y": unit(B, D, 2, torch.float32)}, torch.tensor(3.0))
    found = Chunked(plain, 4)({"inputs": inputs})
    torch.testing.assert_close(found["logits"], plain({"inputs": inputs})["logits"])


@pytest.mark.parametrize("case", PRESENT)
def test_parts_hold_every_row_once_in_order(case):
    batch = batch_of(case)
    counts, parts = zip(*parts_of(batch, 3), strict=True)
    assert counts == (3, 3, 3, 2)
    assert [name for part in parts for name in part["id"]] == batch["id"]
    for name in PAIR:
        assert torch.equal(torch.cat([part[f"present/{name}"] for part in parts]), batch[f"present/{name}"])
        for part in parts:
            assert (name in part) == bool(part[f"present/{name}"].any())
        if name in batch:
            assert torch.equal(torch.cat([part[name] for part in parts if name in part]), batch[name])


def test_rows_of_all_samples_stay_with_their_samples():
    flag = flags("0001")
    parts = [part for _, part in parts_of({"image": torch.arange(4), "present/image": flag}, 2)]
    assert [part["image"].tolist() for part in parts] == [[0, 1], [2, 3]]


def test_precomputed_features_are_of_their_modality():
    batch = {"features/image": torch.arange(3), "present/image": flags("01011"), "present/text": flags("00000")}
    parts = [part for _, part in parts_of(batch, 2)]
    assert [part["features/image"].tolist() for part in parts] == [[0], [1], [2]]


def test_rows_that_are_nobodys_are_named():
    with pytest.raises(InputError, match=r"'image' has 2 rows in a batch of 5 samples, 3 of which have it"):
        Chunked(Net(), 2)({"image": torch.zeros(2, RAW), "present/image": flags("01011")})


def test_a_number_of_the_batch_is_refused():
    class Mean(nn.Linear):
        def forward(self, batch):
            return {"y": super().forward(batch["x"]), "mean": batch["x"].mean()}

    batch = {"x": torch.arange(12.0).reshape(4, 3)}
    with pytest.raises(InputError, match=r"gives 'mean', one number for all samples, that differs between parts"):
        Chunked(Mean(3, 2), 2)(batch)
    assert Chunked(Mean(3, 2), 4)(batch)["mean"] == 5.5


def test_an_output_of_some_parts_needs_a_flag():
    class Sometimes(nn.Linear):
        def forward(self, batch):
            y = super().forward(batch["x"])
            return {"y": y, "big": y} if batch["x"].sum() > 20 else {"y": y}

    with pytest.raises(InputError, match=r"gives 'big' for some parts of a batch and not for others"):
        Chunked(Sometimes(3, 2), 2)({"x": torch.arange(12.0).reshape(4, 3)})


@pytest.mark.parametrize("size", [0, -1])
def test_a_part_has_samples(size):
    with pytest.raises(InputError, match=rf"Chunked\.size: {size} given; give 1 or more"):
        Chunked(Net(), size)


def test_says_what_the_model_gives_and_reads():
    node = {"_target_": "kdmm.models.Classifier", "tower": {}, "classes": 2}
    assert Chunked.gives({"model": node}) == {"logits", "features"}
    assert Chunked.gives({"model": {"_target_": "torch.nn.Identity"}}) is None
    tower = {"_target_": "kdmm.models.ConvImage", "widths": [4]}
    built = targets.build({"_target_": "kdmm.models.chunked.Chunked", "model": {**node, "tower": tower}, "size": 2})
    assert built.preprocess == built.model.preprocess
