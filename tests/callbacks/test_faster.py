"""Callbacks that change how a step is computed, and nothing of what it gives."""

import copy
from types import SimpleNamespace

import open_clip
import pytest
import torch
from torch import nn

from kdmm.callbacks import Compiled, GradientCheckpointing
from kdmm.errors import InputError
from kdmm.losses import KD, Objective
from kdmm.models import Classifier, ConvImage, TimmImage, TransformerText
from kdmm.modules import DistillationModule, Optimization
from kdmm.teachers import Ensemble, Frozen, Precomputed
from tests.conftest import MINILM


def module(student=None):
    torch.manual_seed(0)
    teacher = Classifier(ConvImage([4], 8), 3)
    return DistillationModule(
        Classifier(ConvImage([6], 8), 3) if student is None else student,
        Frozen(teacher),
        Objective({"soft": KD()}),
        Optimization(lambda parameters: torch.optim.SGD(parameters, lr=0.1)),
        metrics={},
    )


def batches(count, size=8, device="cpu"):
    draw = torch.Generator().manual_seed(1)
    made = []
    for _ in range(count):
        part = {"id": list("abcd"), "image": torch.randn(4, 3, size, size, generator=draw).to(device)}
        made.append({"id": list("abcd"), "student": part, "teacher": part})
    return made


def trained(made, steps, *callbacks, size=8):
    """Take steps between the hooks that the Trainer calls."""
    optimizer = torch.optim.SGD(made.student.parameters(), lr=0.1)
    for callback in callbacks:
        callback.on_fit_start(None, made)
    made.student.train()
    device = next(made.student.parameters()).device
    for batch in batches(steps, size, device):
        loss, _ = made.objective(*made.outputs(batch), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for callback in callbacks:
        callback.on_fit_end(None, made)
    return made


def close(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=1e-5, atol=1e-6, msg=name)


def graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch.compile itself calls
@pytest.mark.parametrize(("models", "compiled"), [(["student"], 1), (["teacher"], 1), (["student", "teacher"], 2)])
def test_compiled_models_learn_the_same_and_are_as_written_afterwards(models, compiled):
    torch._dynamo.reset()
    plain, other = trained(module(), 4), module()
    before = graphs()
    trained(other, 4, Compiled(models, backend="eager"))
    assert graphs() - before >= compiled
    close(other.student.state_dict(), plain.student.state_dict())
    before = graphs()
    for model in (other.student, other.teacher.model):
        model(batches(1, 16)[0]["student"])  # pictures of another size would be compiled anew
    assert graphs() == before


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_cannot_be_compiled_runs_as_it_is_written():
    asked = []

    @torch._dynamo.register_backend(name="broken")
    def broken(graph, inputs):
        asked.append(graph)
        raise RuntimeError("no compiler here")

    torch._dynamo.reset()
    plain, other = trained(module(), 3), trained(module(), 3, Compiled(backend="broken"))
    assert asked
    close(other.student.state_dict(), plain.student.state_dict())


def test_of_an_ensemble_every_teacher_is_compiled_and_of_answers_none():
    teachers = {name: Frozen(Classifier(ConvImage([4], 8), 3)) for name in "ab"}
    made = module()
    made.teacher = Ensemble(teachers)
    callback = Compiled(["teacher"], backend="eager")
    callback.on_fit_start(None, made)
    assert all(each.model._compiled_call_impl is not None for each in teachers.values())
    callback.on_exception(None, made, KeyboardInterrupt())
    assert all(each.model._compiled_call_impl is None for each in teachers.values())
    made.teacher = Precomputed(teachers["a"], views=1)
    callback.on_fit_start(None, made)
    assert teachers["a"].model._compiled_call_impl is None
    assert made.student._compiled_call_impl is None


@pytest.mark.parametrize("models", [[], ["pupil"]])
def test_other_models_are_refused(models):
    with pytest.raises(InputError, match=r"Compiled.models: .* accepted: student, teacher, objective"):
        Compiled(models)


def counted(model, part):
    """Count how often a part begins its forward pass; the second time it ends early, when nothing more is needed."""
    calls = []
    dict(model.named_modules())[part].register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize(("name", "part"), [("test_vit", "blocks.0"), ("tf_efficientnet_lite0", "blocks.1.0")])
def test_activations_computed_again_give_the_same_gradients(name, part):
    torch.manual_seed(2)
    student = Classifier(TimmImage(name, 160 if name == "test_vit" else 32), 3)
    plain, other = module(copy.deepcopy(student)), module(student)
    first, second = (counted(each.student.tower.trunk, part) for each in (plain, other))
    size = student.tower.preprocess.size
    trained(plain, 2, size=size)
    trained(other, 2, GradientCheckpointing(), size=size)
    assert (len(first), len(second)) == (2, 4)
    weights, expected = (dict(each.student.named_parameters()) for each in (other, plain))
    close(weights, expected)


def test_batch_normalization_sees_each_batch_twice():
    student = Classifier(TimmImage("tf_efficientnet_lite0", 32), 3)
    made = [module(copy.deepcopy(student)) for _ in range(2)]
    means = []
    for each, callbacks in zip(made, ([], [GradientCheckpointing()]), strict=True):
        norm = each.student.tower.trunk.blocks[0][0].bn1
        trained(each, 1, *callbacks, size=32)
        means.append(norm.running_mean)
    once, twice = means  # from 0
    torch.testing.assert_close(twice, once * (1 - (1 - norm.momentum) ** 2) / norm.momentum, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["transformers", "open_clip"])
def test_towers_of_other_packages_can_compute_activations_again(kind):
    if kind == "transformers":
        tower = TransformerText(MINILM)
        part, inputs = tower.trunk.encoder.layer[0].attention, tower.preprocess(["a red car", "a dog"])
    else:
        tower = open_clip.model.VisionTransformer(32, 16, 16, 2, 2, 2.0, output_dim=8)
        part, inputs = tower.transformer.resblocks[0], torch.randn(2, 3, 32, 32)
    tower.train()
    calls, found = [], []
    part.register_forward_pre_hook(lambda *_: calls.append(1))
    for again in (False, True):
        if again:
            GradientCheckpointing().on_fit_start(None, SimpleNamespace(model=nn.Sequential(tower)))
        tower.zero_grad()
        torch.manual_seed(3)  # dropout
        tower(inputs).square().sum().backward()
        found.append({name: p.grad.clone() for name, p in tower.named_parameters() if p.grad is not None})
    assert len(calls) == 1 + 2
    close(found[1], found[0])


def test_networks_that_cannot_are_refused():
    with pytest.raises(InputError, match="no network in Classifier can"):
        trained(module(), 1, GradientCheckpointing())
