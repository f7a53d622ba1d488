import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import KD, Confident, FeatureMatch, Objective, confidence, weighted_mean
from kdmm.targets import build, check_reads
from tests.losses.data import unit
from tests.losses.weighting.toys import Pull


def test_confidence_runs_from_a_teacher_that_knows_nothing_to_one_that_is_sure():
    logits = torch.tensor([[0.0, 0, 0, 0], [900, 0, 0, 0], [0, 0, -math.inf, -math.inf]], dtype=torch.float64)
    assert confidence(logits).tolist() == pytest.approx([0, 1, 0.5], abs=1e-12)  # the last: log 2 of log 4
    labels = torch.tensor([3, 0, 1])
    assert confidence(logits, labels).tolist() == pytest.approx([0.25, 1, 0.5])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [2, 3, 10, 1000, 50_257])
def test_rounding_is_not_taken_for_knowledge(classes, dtype):
    assert confidence(torch.full((3, classes), 0.7, dtype=dtype)).tolist() == [0, 0, 0]


def test_a_temperature_makes_a_teacher_less_sure():
    logits = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    p = 1 / (1 + math.exp(-1))
    entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert confidence(logits, temperature=2.0).item() == pytest.approx(1 - entropy / math.log(2))
    assert confidence(logits, torch.tensor([0]), 2.0).item() == pytest.approx(p)


def test_equal_confidence_is_the_plain_mean():
    student, logits = {"image": unit(6, 3, 1)}, torch.tensor([1.0, 2.0, 3.0]).expand(6, 3).double()
    term = Pull("image", 1.0)
    torch.testing.assert_close(Confident(term)(student, {"logits": logits}, {}), term(student, {}, {}))


def test_a_teacher_that_is_sure_of_one_sample_teaches_that_one():
    logits = torch.zeros(4, 3, dtype=torch.float64)
    logits[2, 1] = 500.0
    image = unit(4, 3, 1).requires_grad_()
    value = Confident(Pull("image", 1.0))({"image": image}, {"logits": logits}, {})
    value.backward()
    assert value.item() == pytest.approx((image[2] - 1).square().sum().item() / 2)
    assert (image.grad[[0, 1, 3]] == 0).all()
    torch.testing.assert_close(image.grad[2], image.detach()[2] - 1)


def test_a_teacher_that_knows_nothing_at_all_gives_zero():
    image = unit(4, 3, 1).requires_grad_()
    value = Confident(Pull("image", 1.0))({"image": image}, {"logits": torch.full((4, 7), 0.3)}, {})
    value.backward()
    assert value == 0
    assert (image.grad == 0).all()


def test_weights_have_no_gradient_and_what_does_not_count_may_be_anything():
    values = torch.tensor([1.0, 3.0, 9.0], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, 3.0, 5.0], dtype=torch.float64, requires_grad=True)
    value = weighted_mean(values, weights, torch.tensor([True, True, False]))
    value.backward()
    assert value == 2.5
    assert values.grad.tolist() == [0.25, 0.75, 0]
    assert weights.grad is None


def test_it_is_one_term_of_an_objective_and_is_built_with_it():
    term = Confident(FeatureMatch("image", "image"))
    student, teacher = {"image": unit(6, 3, 1)}, {"image": unit(6, 5, 2), "logits": unit(6, 4, 3)}
    objective = Objective({"sure": term})
    objective.build(student, teacher, {})
    objective.double()
    assert [name for name, _ in objective.named_parameters()] == [
        "terms.sure.term.adapter.chosen.map.weight",
        "terms.sure.term.adapter.chosen.map.bias",
    ]
    assert objective(student, teacher, {})[0] > 0


MATCH = {"_target_": "kdmm.losses.FeatureMatch", "student": "image", "teacher": "pixels"}


def test_what_it_reads_is_what_its_term_reads_and_the_teachers_logits():
    assert Confident.reads({"term": MATCH}) == ({"image"}, {"pixels", "logits"})
    assert Confident.reads({"term": MATCH, "teacher": "scores"}) == ({"image"}, {"pixels", "scores"})
    assert Confident.reads({"term": {"_target_": "kdmm.losses.KD"}}) == ({"logits"}, {"logits"})
    assert Confident.reads({"term": KD(student="head")}) == ({"head"}, {"logits"})
    for unknown in ({"_target_": "mine.Term"}, {"_target_": 3}, {"_target_": "torch.nn.Linear"}, {}, None, "image"):
        assert Confident.reads({"term": unknown}) == (set(), {"logits"})
    module = {"objective": {"terms": {"sure": {"_target_": "kdmm.losses.Confident", "term": MATCH}}}}
    assert check_reads(module) == []


def test_it_can_be_made_from_a_yaml():
    term = build({"_target_": "kdmm.losses.Confident", "term": MATCH, "by": "label", "temperature": 2})
    assert term.term.teacher_name == "pixels"
    with pytest.raises(InputError, match="term"):
        build({"_target_": "kdmm.losses.Confident", "term": {"_target_": "kdmm.losses.Affinity", "pair": ["a", "b"]}})


def test_settings_and_inputs_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="Confident: temperature is 0"):
        Confident(Pull(), temperature=0)
    student = {"image": unit(4, 3, 1)}
    with pytest.raises(InputError, match=r"Confident: teacher\.logits has the shape \(4, 1\)"):
        Confident(Pull())(student, {"logits": torch.zeros(4, 1)}, {})
    with pytest.raises(InputError, match="Confident: label is 'label'"):
        Confident(Pull(), by="label")(student, {"logits": torch.zeros(4, 2)}, {"labels": torch.zeros(4)})
