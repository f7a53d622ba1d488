"""Losses of activations agree with torchdistill's to 1e-5, and where they do not, it is said why."""

import pytest
import torch
from torch import nn

from kdmm.losses import VID, AttentionTransfer, Hint, ReviewKD, hierarchical_context
from tests.losses.cases.stages import MAPS, STAGES, randoms

theirs = pytest.importorskip("torchdistill.losses.mid_level")
wrappers = pytest.importorskip("torchdistill.models.wrapper")

PAIRS = {
    name: {"student": {"path": name, "io": "output"}, "teacher": {"path": name, "io": "output"}}
    for name in ("map", "deep")
}
BOTH = {"map": "map", "deep": "deep"}


def captured(outputs):
    """Activations as torchdistill's hooks hand them over."""
    return {name: {"output": x} for name, x in outputs.items()}


def compared(term, loss, student, teacher, given=None):
    """Values and gradients to the student of a term and of torchdistill's loss."""
    ours = {name: x.clone().requires_grad_() for name, x in student.items()}
    others = {name: x.clone().requires_grad_() for name, x in student.items()}
    value = term(ours, teacher, {})
    expected = loss(captured(given(others) if given else others), captured(teacher), None)
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)
    for name in student:
        torch.testing.assert_close(ours[name].grad, others[name].grad, rtol=1e-5, atol=1e-7)


def test_hint_is_their_mean_squared_error_after_the_same_regressor():
    term = Hint("deep", "deep")
    term.build(*STAGES, {})
    term.double()
    loss = theirs.SimpleLossWrapper(
        nn.MSELoss(),
        input={"is_from_teacher": False, "module_path": "deep", "io": "output"},
        target={"is_from_teacher": True, "module_path": "deep", "io": "output"},
    )
    deep = [{"deep": outputs["deep"]} for outputs in STAGES]
    compared(term, loss, *deep, lambda student: {"deep": term.adapter.chosen.map(student["deep"])})


def test_attention_transfer_is_theirs_in_the_mode_of_the_authors_code():
    compared(AttentionTransfer(BOTH), theirs.ATLoss(PAIRS, mode="code"), *STAGES)


def test_attention_transfer_of_the_papers_formula_is_the_root_of_ours():
    """In their mode ``paper`` a sample's value is |u - v|, ours |u - v|² / places: equal up to that for one sample."""
    student, teacher = ({"map": outputs["map"][:1]} for outputs in MAPS)
    value = AttentionTransfer({"map": "map"})(student, teacher, {})
    paper = theirs.ATLoss({"map": PAIRS["map"]}, mode="paper")(captured(student), captured(teacher))
    torch.testing.assert_close((value * 4 * 3).sqrt(), paper, rtol=1e-5, atol=0)


def test_vid_is_theirs_with_the_same_mean_and_variance():
    """Their mean is a network of three layers and their first variance a setting; the loss itself is the same."""
    term = VID(BOTH)
    term.build(*STAGES, {})
    term.double()

    def predicted(student):
        layers = zip(student.items(), term.adapters, term.raw_variances, strict=True)
        return {
            name: (adapter.chosen.map(x), (nn.functional.softplus(raw) + 1e-5).reshape(1, -1, 1, 1))
            for (name, x), adapter, raw in layers
        }

    compared(term, theirs.VIDLoss(PAIRS), *STAGES, predicted)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_hierarchical_context_is_theirs_for_square_maps(size):
    """Of maps that are not square they look at the height alone, and pool to sizes that the width does not have."""
    student, teacher = randoms(1, 6, 4, size, size), randoms(2, 6, 4, size, size)
    loss = theirs.HierarchicalContextLoss("map", "output", "map", "output")
    expected = loss({"map": {"output": (student, None)}}, captured({"map": teacher}))
    torch.testing.assert_close(hierarchical_context(student, teacher).mean(), expected, rtol=1e-5, atol=0)


def test_fusion_is_theirs_without_batchnorm():
    """Ours has biases where theirs has BatchNorm, which is the identity here."""
    outputs = {"map": randoms(1, 6, 4, 6, 6), "deep": randoms(2, 6, 3, 3, 3)}
    teacher = {"map": randoms(3, 6, 5, 6, 6), "deep": randoms(4, 6, 7, 3, 3)}
    term = ReviewKD(BOTH, width=2)
    term.build(outputs, teacher, {})
    term.double()
    found = []
    for fusion, (name, x) in zip(term.fusions, outputs.items(), strict=True):
        other = wrappers.AttentionBasedFusion(x.shape[1], 2, teacher[name].shape[1], fusion.attend is not None)
        for module, own in ((other.conv1, fusion.narrow), (other.conv2, fusion.widen)):
            nn.init.zeros_(own.bias)
            module[0].weight = own.weight
            module[1].eps = 0.0
        if fusion.attend is not None:
            other.attention_conv[0].load_state_dict(fusion.attend.state_dict())
        found.append(other.double().eval())
    expected, deeper = found[1](outputs["deep"])
    value, handed_on = term.fusions[1](outputs["deep"], None, (3, 3))
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)
    expected, _ = found[0](outputs["map"], deeper, 6)
    value, _ = term.fusions[0](outputs["map"], handed_on, (6, 6))
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)
