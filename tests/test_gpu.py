"""What differs on a GPU. Skipped where there is none; everything else is tested on the CPU."""

import copy

import pytest
import torch
import torch.nn.functional as F

import kdmm
from kdmm.callbacks import Compiled
from kdmm.losses import Affinity, MaskedFeature
from tests.callbacks.test_faster import module, trained
from tests.losses.cases import CASES
from tests.losses.conformance import leaves, wanting
from tests.small_runs import experiment, folder_with_a_teacher, logged

pytestmark = pytest.mark.gpu

folder = pytest.fixture(folder_with_a_teacher)


def on_gpu(values):
    return {name: x.cuda() if isinstance(x, torch.Tensor) else x for name, x in values.items()}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_loss_and_its_gradient_are_those_of_the_cpu(case):
    if case.kind is MaskedFeature:
        pytest.skip("its mask is drawn on the device, and other devices draw others")
    found = []
    for move in (lambda x: x, on_gpu):
        term, student = case.term(), leaves(case.student)
        if move is on_gpu:
            term = term.cuda()
            student = leaves(on_gpu(case.student))
        torch.manual_seed(0)
        value = term(student, move(case.teacher), move(case.batch))
        gradients = torch.autograd.grad(value, wanting(student), allow_unused=True)
        found.append([value.detach().cpu(), *(g.cpu() for g in gradients if g is not None)])
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=1e-8)


def test_tiles_never_hold_the_matrix():
    rows, width = 16384, 128
    student = {name: F.normalize(torch.randn(rows, width, device="cuda"), dim=1) for name in ("image", "text")}
    teacher = {name: F.normalize(torch.randn(rows, width, device="cuda"), dim=1) for name in ("image", "text")}
    scale = {"logit_scale": torch.tensor(20.0, device="cuda")}
    student = {name: x.requires_grad_() for name, x in student.items()} | scale
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    Affinity(["image", "text"], teacher_temperature=0.05, student_temperature=0.05, tile=1024)(
        student, teacher, {}
    ).backward()
    assert torch.cuda.max_memory_allocated() - before < rows * rows * 4 / 4  # a quarter of one matrix


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_run_on_the_gpu_learns_as_one_on_the_cpu(folder, precision):
    runs = {}
    for name, settings in (("cpu", {"accelerator": "cpu"}), ("gpu", {"accelerator": "gpu", "precision": precision})):
        tree = experiment(name)
        kdmm.fit({**tree, "trainer": {**tree["trainer"], **settings}})
        runs[name] = [float(row["train/loss"]) for row in logged(f"runs/{name}") if row["train/loss"]]
    tolerance = 0.02 if precision == "bf16-mixed" else 0.005
    assert runs["gpu"] == pytest.approx(runs["cpu"], rel=tolerance)
    kdmm.load("runs/gpu")  # on the CPU
    assert kdmm.evaluate("runs/gpu").keys() == kdmm.evaluate("runs/cpu").keys()


def test_a_store_written_on_the_gpu_is_that_of_the_cpu(folder):
    for name in ("cpu", "gpu"):
        tree = experiment(name)
        kdmm.cache({**tree, "trainer": {**tree["trainer"], "accelerator": name}}, store=f"stores/{name}")
    stored = {"_target_": "kdmm.teachers.Cached", "store": "stores/gpu", "teacher": experiment()["module"]["teacher"]}
    tree = experiment("cached")
    tree["module"]["teacher"] = stored
    assert all(each.quantiles[0] > 0.999 for each in kdmm.verify(tree, 50))


def test_compiled_by_inductor_a_model_learns_the_same():
    torch._dynamo.reset()
    plain, compiled = module().cuda(), module().cuda()
    expected = trained(copy.deepcopy(plain), 4).student.state_dict()
    found = trained(compiled, 4, Compiled()).student.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4, msg=name)
