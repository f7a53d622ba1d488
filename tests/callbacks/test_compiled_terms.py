"""Terms of the objective compiled: the values and gradients of the terms as they are written."""

import copy
import shutil

import pytest
import torch
from torch import nn

from kdmm.callbacks import Compiled
from kdmm.losses import KD, Affinity, Contrastive, FeatureMatch, LogitMSE, Objective, PCGrad
from tests import two_processes
from tests.losses.cases import CASES
from tests.losses.conformance import leaves, wanting

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch.compile itself calls

BY_NAME = {case.name: case for case in CASES}
ONE_OF_EACH = list({case.kind: case for case in CASES}.values())
PAIR = ["image", "text"]


class Module(nn.Module):
    """As much of a LightningModule as the callback looks at."""

    def __init__(self, objective):
        super().__init__()
        self.model = nn.Identity()
        self.objective = objective


def found(objective, case):
    """The total and the gradients that arrive at the student."""
    outputs = leaves(case.student, torch.float32)
    torch.manual_seed(0)
    # As in training the outputs are no leaves: a weighting that looks at gradients looks there.
    student = {name: x * 1 if torch.is_tensor(x) and x.requires_grad else x for name, x in outputs.items()}
    total, _ = objective(student, case.teacher, case.batch)
    return [total.detach(), *torch.autograd.grad(total, wanting(outputs), allow_unused=True)]


def assert_agreement(objective, case, backend):
    torch._dynamo.reset()
    expected = found(copy.deepcopy(objective), case)
    callback, module = Compiled(["objective"], backend=backend), Module(objective)
    callback.on_fit_start(None, module)
    torch.testing.assert_close(found(objective, case), expected, rtol=1e-5, atol=1e-6)
    callback.on_fit_end(None, module)
    assert all(term._compiled_call_impl is None for term in objective.terms.values())


def graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("name", ["KD", "FeatureMatch, distance=cosine"])
def test_compiled_a_term_gives_the_same(name):
    before = graphs()
    assert_agreement(Objective({"term": BY_NAME[name].term(torch.float32)}), BY_NAME[name], "eager")
    assert graphs() > before


@pytest.mark.slow
@pytest.mark.parametrize("case", ONE_OF_EACH, ids=[case.name for case in ONE_OF_EACH])
def test_compiled_every_term_gives_the_same(case):
    assert_agreement(Objective({"term": case.term(torch.float32)}), case, "aot_eager")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("name", ["KD", "Affinity", "TokenKL"])
def test_compiled_by_inductor_a_term_gives_the_same(name):
    assert_agreement(Objective({"term": BY_NAME[name].term(torch.float32)}), BY_NAME[name], "inductor")


def test_a_weighting_that_goes_back_through_each_term_twice_gives_the_same():
    assert_agreement(Objective({"one": KD(), "other": LogitMSE()}, PCGrad()), BY_NAME["KD"], "aot_eager")


def test_of_further_objectives_all_terms_are_compiled_and_none_in_tiles():
    module = Module(Objective({"whole": Contrastive(PAIR), "tiled": Affinity(PAIR, tile=8)}))
    module.copies = nn.ModuleDict({"other": copy.deepcopy(module.objective)})
    callback = Compiled(["objective"], backend="eager")
    callback.on_fit_start(None, module)
    for objective in (module.objective, module.copies["other"]):
        compiled = {name: term._compiled_call_impl is not None for name, term in objective.terms.items()}
        assert compiled == {"whole": True, "tiled": False}
    callback.on_exception(None, module, KeyboardInterrupt())


def test_by_default_no_term_is_compiled():
    module = Module(Objective({"soft": KD()}))
    callback = Compiled(backend="eager")
    callback.on_fit_start(None, module)
    assert module.objective.terms["soft"]._compiled_call_impl is None
    callback.on_fit_end(None, module)


@pytest.mark.slow
def test_batches_of_other_samples_are_compiled_once():
    """Ids and captions change with each batch, and are no part of what is compiled."""
    torch._dynamo.reset()
    module = Module(Objective({"match": FeatureMatch("image", "image")}))
    callback, counts = Compiled(["objective"], backend="eager"), []
    callback.on_fit_start(None, module)
    for n in range(4):
        student, teacher = ({"image": torch.randn(6, 4)} for _ in range(2))
        module.objective(student, teacher, {"id": [f"{n}-{row}" for row in range(6)], "view": [n] * 6})
        counts.append(graphs())
    callback.on_fit_end(None, module)
    assert counts[0] == counts[-1]


def over_two_processes():
    torch._dynamo.reset()
    case = BY_NAME["KD"]
    results = {}
    for name in ("plain", "compiled"):
        module, callback = (
            Module(Objective({"term": case.term(torch.float32)})),
            Compiled(["objective"], backend="eager"),
        )
        if name == "compiled":
            callback.on_fit_start(None, module)
        results[name] = [x for x in found(module.objective, case) if x is not None]
        callback.on_fit_end(None, module)
    return results


@pytest.mark.slow
def test_in_two_processes_compiled_terms_give_the_same(tmp_path):
    for results in two_processes.run(over_two_processes, tmp_path):
        torch.testing.assert_close(results["compiled"], results["plain"], rtol=1e-5, atol=1e-6)
