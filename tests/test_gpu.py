"""What differs on a GPU. Skipped where there is none; everything else is tested on the CPU."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from lightning.fabric.utilities import move_data_to_device
from torch import nn

import kdmm
from kdmm import targets
from kdmm.callbacks import Compiled
from kdmm.losses import MaskedFeature, Objective
from kdmm.models import Tapped
from tests.bench.tiles import TERMS as TILED
from tests.callbacks.test_compiled_terms import Module, found
from tests.callbacks.test_faster import module, trained
from tests.losses.cases import CASES
from tests.losses.conformance import leaves, wanting
from tests.models import test_captioner as captioners
from tests.models import test_torchvision_detector as detectors
from tests.parallel import PAIRS, translator
from tests.small_runs import experiment, folder_with_a_teacher, logged

pytestmark = pytest.mark.gpu

GPU = {"accelerator": "gpu"}
DEVICE = torch.device("cuda")
MIXED = {"bf16": torch.bfloat16, "16": torch.float16}

folder = pytest.fixture(folder_with_a_teacher)


def on_gpu(value):
    return value.to(DEVICE) if isinstance(value, nn.Module) else move_data_to_device(value, DEVICE)


def laid_out(outputs, layout):
    return {
        name: x.to(memory_format=layout) if torch.is_tensor(x) and x.ndim == 4 else x for name, x in outputs.items()
    }


def maps(case):
    return any(torch.is_tensor(x) and x.ndim == 4 for x in case.student.values())


LAYOUTS = [(case, torch.contiguous_format) for case in CASES] + [
    (case, torch.channels_last) for case in CASES if maps(case)
]


@pytest.mark.parametrize(("case", "layout"), LAYOUTS, ids=[f"{case.name}, {layout}" for case, layout in LAYOUTS])
def test_a_loss_and_its_gradient_are_those_of_the_cpu(case, layout):
    if case.kind is MaskedFeature:
        pytest.skip("its mask is drawn on the device, and other devices draw others")
    results = []
    for move in (lambda x: x, on_gpu):
        term, student = move(case.term()), leaves(laid_out(move(case.student), layout))
        torch.manual_seed(0)
        value = term(student, laid_out(move(case.teacher), layout), move(case.batch))
        gradients = torch.autograd.grad(value, wanting(student), allow_unused=True)
        results.append([value.detach().cpu(), *(g.cpu() for g in gradients if g is not None)])
    torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("precision", MIXED)
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_in_mixed_precision_a_loss_is_that_of_full_precision(case, precision):
    if "half precision" in case.exempt or case.kind is MaskedFeature:
        pytest.skip(case.exempt.get("half precision", "its mask is drawn on the device"))
    dtype = MIXED[precision]
    low = leaves(case.student, dtype), leaves(case.teacher, dtype)
    high = [
        {k: x.detach().double() if torch.is_tensor(x) and x.is_floating_point() else x for k, x in o.items()}
        for o in low
    ]
    expected = case.term()(*high, case.batch)
    with torch.autocast(DEVICE.type, dtype):
        value = on_gpu(case.term(torch.float32))(*on_gpu(low), on_gpu(case.batch))
    assert value.dtype is torch.float32
    torch.testing.assert_close(value.double().cpu(), expected, rtol=max(case.rtol, 1e-4), atol=1e-6)


@pytest.mark.parametrize("name", TILED)
def test_tiles_never_hold_the_matrix(name):
    rows, width = 16384, 128

    def drawn():
        return {each: F.normalize(torch.randn(rows, width, device=DEVICE), dim=1) for each in ("image", "text")}

    scalars = {"logit_scale": torch.tensor(20.0, device=DEVICE), "logit_bias": torch.tensor(-10.0, device=DEVICE)}
    student, teacher = {each: x.requires_grad_() for each, x in drawn().items()} | scalars, drawn() | scalars
    term = TILED[name](1024)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    term(student, teacher, {}).backward()
    assert torch.cuda.max_memory_allocated() - before < rows * rows * 4 / 4  # a quarter of one matrix


def changed(tree, changes):
    """A tree with some leaves changed."""
    tree = copy.deepcopy(tree)
    for path, value in changes.items():
        *nodes, last = path.split(".")
        node = tree
        for each in nodes:
            node = node.setdefault(each, {})
        node[last] = value
    return tree


def losses_of(name, changes, **trainer):
    tree = changed(experiment(name), changes)
    kdmm.fit({**tree, "trainer": {**tree["trainer"], **trainer}})
    return [float(row["train/loss"]) for row in logged(f"runs/{name}") if row["train/loss"]]


RUNNING = {"_target_": "kdmm.teachers.FromRun", "run": "runs/teacher"}
CHANGES = {
    "as it is": {},
    "a fused optimizer": {"module.optimization.optimizer.fused": True},
    "gradients accumulated and clipped": {"trainer.accumulate_grad_batches": 3, "trainer.gradient_clip_val": 0.1},
    "a teacher in bfloat16": {"module.teacher": {**RUNNING, "precision": "bfloat16"}},
    "answers computed before": {
        "module.teacher": {"_target_": "kdmm.teachers.Precomputed", "teacher": RUNNING, "views": 2}
    },
    "answers stored": {"module.teacher": {"_target_": "kdmm.teachers.Cached", "store": "stores/half"}},
    "answers stored beside the teacher": {
        "module.teacher": {"_target_": "kdmm.teachers.Hybrid", "store": "stores/half", "teacher": RUNNING}
    },
    "gradients checkpointed": {"callbacks.again": {"_target_": "kdmm.callbacks.GradientCheckpointing"}},
    "a weighting by gradients": {"module.objective.weights": {"_target_": "kdmm.losses.PCGrad"}},
    "compiled": {
        "callbacks.fast": {"_target_": "kdmm.callbacks.Compiled", "models": ["student", "teacher", "objective"]}
    },
    "workers": {"data.workers": 2},
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch.compile itself calls
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_run_on_the_gpu_learns_as_one_on_the_cpu(folder, name, precision):
    kdmm.cache(experiment(), store="stores/half")
    on_cpu = {path: value for path, value in CHANGES[name].items() if path != "callbacks.fast"}
    expected = losses_of("cpu", {**on_cpu, "module.student.dropout": 0.0}, accelerator="cpu")
    learned = losses_of("gpu", {**CHANGES[name], "module.student.dropout": 0.0}, **GPU, precision=precision)
    tolerance = 0.02 if precision == "bf16-mixed" or "bfloat16" in name else 0.005
    assert learned == pytest.approx(expected, rel=tolerance)
    kdmm.load("runs/gpu")  # on the CPU
    assert kdmm.evaluate("runs/gpu").keys() == kdmm.evaluate("runs/cpu").keys()


def test_a_run_in_float16_learns(folder):
    """The first steps may be left out, until the scale fits."""
    expected = losses_of("cpu", {}, accelerator="cpu")
    learned = losses_of("gpu", {}, **GPU, precision="16-mixed")
    assert learned[0] == pytest.approx(expected[0], rel=0.02)
    assert learned[-1] < learned[0]
    assert all(map(torch.isfinite, map(torch.tensor, learned)))


def test_a_store_written_on_the_gpu_is_that_of_the_cpu(folder):
    for name, settings in (("cpu", {"accelerator": "cpu"}), ("gpu", GPU)):
        tree = experiment(name)
        kdmm.cache({**tree, "trainer": {**tree["trainer"], **settings}}, store=f"stores/{name}")
    stored = {"_target_": "kdmm.teachers.Cached", "store": "stores/gpu", "teacher": experiment()["module"]["teacher"]}
    tree = experiment("cached")
    tree["module"]["teacher"] = stored
    assert all(each.quantiles[0] > 0.999 for each in kdmm.verify(tree, 50))


def test_batches_come_in_pinned_memory_and_answers_on_the_device(folder):
    kdmm.cache(experiment(), store="stores/half")
    teacher = targets.build({"_target_": "kdmm.teachers.Cached", "store": "stores/half"}).to(DEVICE)
    data = targets.build(experiment()["data"])
    data.use({"student": targets.build(experiment()["module"]["student"]).preprocess, **teacher.preprocesses})
    data.setup("fit")
    made = next(iter(data.train_dataloader()))
    assert made["student"]["image"].is_pinned()
    answer = teacher.answer(on_gpu(made))
    assert {x.device.type for x in answer.values()} == {DEVICE.type}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_by_inductor_a_model_learns_the_same():
    torch._dynamo.reset()
    plain, compiled = on_gpu(module()), on_gpu(module())
    expected = trained(copy.deepcopy(plain), 4).student.state_dict()
    learned = trained(compiled, 4, Compiled()).student.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(learned[name], value, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("case", CASES[::8], ids=[case.name for case in CASES[::8]])
def test_compiled_by_inductor_a_loss_gives_the_same(case):
    """Every eighth: one takes half a minute to compile."""
    torch._dynamo.reset()
    moved = dataclasses.replace(
        case, **{part: on_gpu(dict(getattr(case, part))) for part in ("student", "teacher", "batch")}
    )
    objective = on_gpu(Objective({"term": case.term(torch.float32)}))
    expected, callback = found(objective, moved), Compiled(["objective"])
    callback.on_fit_start(None, Module(objective))
    torch.testing.assert_close(found(objective, moved), expected, rtol=1e-4, atol=1e-5)
    callback.on_fit_end(None, None)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_student_in_either_layout_learns_the_same(memory_format):
    expected = trained(on_gpu(module()), 3).student.state_dict()
    learned = trained(on_gpu(module()).to(memory_format=memory_format), 3).student.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(learned[name], value, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("training", [True, False])
def test_a_detector_gives_the_losses_taps_and_detections_of_the_cpu(training):
    outputs = []
    for move in (lambda x: x, on_gpu):
        model = move(Tapped(detectors.small(), detectors.TAPS)).train(training)
        with torch.no_grad():
            outputs.append({name: x.cpu() for name, x in model(move(detectors.batch())).items()})
    assert outputs[0].keys() == outputs[1].keys()
    for name, value in outputs[0].items():
        torch.testing.assert_close(outputs[1][name], value, rtol=1e-3, atol=1e-3, msg=name)


@pytest.mark.parametrize("beams", [1, 3])
def test_translations_are_those_of_the_cpu(beams):
    model = translator()
    source = model.source([each for each, _ in PAIRS])
    expected = model.generate(source, beams=beams, max_tokens=12)
    assert on_gpu(model).generate(on_gpu(source), beams=beams, max_tokens=12) == expected


@pytest.mark.parametrize("kind", captioners.KINDS)
@pytest.mark.parametrize("beams", [1, 3])
def test_captions_are_those_of_the_cpu(kind, beams):
    model = captioners.captioner(kind)
    inputs = captioners.batch(model, kind, [(True, None)] * 3)[captioners.MODALITY[kind]]
    expected = model.generate(inputs, beams=beams, max_tokens=8)
    assert on_gpu(model).generate(on_gpu(inputs), beams=beams, max_tokens=8) == expected
