import math

import pytest
import torch

from kdmm import targets
from kdmm.errors import InputError
from kdmm.losses import Affinity, Contrastive, FeatureMatch, GradNorm, Linear, Objective, Scheduled, Weighting
from tests.losses.data import scalar, unit

B = 6
STUDENT = {"image": unit(B, 5, 1), "text": unit(B, 5, 2), "logit_scale": scalar(9.0)}
TEACHER = {"image": unit(B, 7, 3), "text": unit(B, 7, 4), "logit_scale": scalar(12.0)}


def terms():
    return {
        "hard": Contrastive(["image", "text"]),
        "affinity": Affinity(["image", "text"], teacher_temperature=0.1),
        "feature": feature_term(),
    }


def feature_term():
    term = FeatureMatch("image", "image")
    term.build(STUDENT, TEACHER, {})
    return term.double()


def test_total_is_the_weighted_sum_of_parts_and_parts_are_unweighted():
    parts_of = terms()
    objective = Objective(parts_of, {"hard": 1.0, "affinity": 0.5, "feature": 1000.0})
    total, parts = objective(STUDENT, TEACHER, {})
    assert list(parts) == ["hard", "affinity", "feature"]
    for name, term in parts_of.items():
        assert parts[name] == term(STUDENT, TEACHER, {})
        assert not parts[name].requires_grad
    torch.testing.assert_close(total.detach(), parts["hard"] + 0.5 * parts["affinity"] + 1000 * parts["feature"])


def test_without_weights_each_counts_once():
    objective = Objective(terms())
    total, parts = objective(STUDENT, TEACHER, {})
    assert objective.weights() == {"hard": 1, "affinity": 1, "feature": 1}
    torch.testing.assert_close(total.detach(), sum(parts.values()))


def test_scheduled_weights_follow_progress():
    objective = Objective({"hard": Contrastive(["image", "text"])}, {"hard": Linear(0, 2)})
    for progress, weight in ((0.0, 0), (0.25, 0.5), (1.0, 2)):
        objective.progress = progress
        total, parts = objective(STUDENT, TEACHER, {})
        assert objective.weights() == {"hard": weight}
        assert total == weight * parts["hard"]


def test_a_weighting_of_ones_own_can_be_given():
    class Largest(Weighting):
        def check(self, names):
            assert tuple(names) == ("hard", "affinity", "feature")

        def weights(self, progress):
            return {}

        def forward(self, parts, progress, outputs):
            return torch.stack(list(parts.values())).max()

    total, parts = Objective(terms(), Largest())(STUDENT, TEACHER, {})
    assert total == max(parts.values())


def test_terms_and_the_weighting_read_what_the_weighting_watches():
    class Watching(Scheduled):
        def watched(self, outputs):
            return {**outputs, "image": 2 * outputs["image"]}

        def forward(self, parts, progress, outputs):
            assert torch.equal(outputs["image"], 2 * STUDENT["image"])
            return super().forward(parts, progress, outputs)

    seen = []
    term = feature_term()
    term.register_forward_pre_hook(lambda term, given: seen.append(given[0]["image"]))
    Objective({"feature": term}, Watching({"feature": 1}))(STUDENT, TEACHER, {})
    assert torch.equal(seen[0], 2 * STUDENT["image"])


def test_a_weighting_that_looks_at_gradients_changes_none_of_them_by_looking():
    def gradients(weights):
        torch.manual_seed(0)
        student = {name: x.clone().requires_grad_() for name, x in STUDENT.items() if name != "text"}
        objective = Objective(terms(), weights)
        objective({**student, "text": STUDENT["text"]}, TEACHER, {})[0].backward()  # a constant, as a frozen tower's
        return {**student, **dict(objective.named_parameters())}

    for found, expected in zip(gradients(GradNorm()).values(), gradients(None).values(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


def test_parameters_of_terms_are_the_objectives():
    objective = Objective(terms(), {"hard": 1, "affinity": 1, "feature": 0})
    names = ["terms.feature.adapter.chosen.map.weight", "terms.feature.adapter.chosen.map.bias"]
    assert [name for name, _ in objective.named_parameters()] == names
    assert list(objective.state_dict()) == names
    total, _ = objective(STUDENT, TEACHER, {})
    total.backward()
    for parameter in objective.parameters():  # weight 0 gives gradient 0, which DDP needs, not None
        assert (parameter.grad == 0).all()


def test_scalars_that_no_term_reads_get_zero_gradient_as_ddp_needs():
    student = {**STUDENT, "logit_scale": scalar(9.0, True), "logit_bias": scalar(-10.0, True)}
    objective = Objective({"feature": feature_term()})
    total, parts = objective(student, TEACHER, {})
    total.backward()
    assert total == parts["feature"]
    assert student["logit_scale"].grad == 0
    assert student["logit_bias"].grad == 0


def test_parts_show_which_term_is_not_finite():
    broken = {**STUDENT, "text": STUDENT["text"] * math.nan}
    total, parts = Objective(terms())(broken, TEACHER, {})
    assert not total.isfinite()
    assert {name: bool(part.isfinite()) for name, part in parts.items()} == {
        "hard": False,
        "affinity": False,
        "feature": True,
    }


def test_terms_and_weights_of_different_names_are_refused():
    with pytest.raises(
        InputError, match=r"Terms: hard, affinity, feature\. Weights: hard, afinity, feature.*'affinity'"
    ):
        Objective(terms(), {"hard": 1, "afinity": 1, "feature": 1})
    with pytest.raises(InputError, match="Weights: hard"):
        Objective(terms(), Scheduled({"hard": 1}))


def test_wrong_names_and_weights_are_found_with_everything_else_before_anything_is_built():
    term = {"_target_": "kdmm.losses.Contrastive", "pair": ["image", "text"]}

    def found(terms, weights):
        tree = {"_target_": "kdmm.losses.Objective", "terms": terms, "weights": weights}
        return [str(problem) for problem in targets.check([{"_target_": "kdmm.losses.Contrastiv"}, tree], "m")][1:]

    hard = {"hard": term}
    warmed = {"_target_": "kdmm.losses.Warmup", "schedule": 1.0, "until": 0.5}
    for weights in (None, {"hard": 2}, {"hard": warmed}, {"_target_": "kdmm.losses.Uncertainty"}):
        assert found(hard, weights) == []
    assert found(hard, {"hardd": warmed}) == [
        "m.1: Objective: terms and weights have different names. Terms: hard. Weights: hardd. Give each term one "
        "weight. Did you mean 'hard'?"
    ]
    assert found({**hard, "soft": term}, {"hard": 1})[0].endswith("Weights: hard. Give each term one weight.")
    assert found(hard, {"hard": -1}) == ["m.1: A term's weight is -1 (value). Give a finite number, 0 or more."]
    assert found({"loss": term}, None)[0].startswith("m.1: Objective: a term is called 'loss'.")
    both = found({**hard, "soft": {**term, "pare": 1}}, {"hard": 1, "sotf": 2})
    assert [line.partition(":")[0] for line in both] == ["m.1.terms.soft.pare", "m.1"]
    assert [line.partition(":")[0] for line in found(hard, {"hard": "1", "soft": 1})] == ["m.1.weights.hard"]


def test_an_objective_needs_a_term():
    with pytest.raises(InputError, match="terms is empty"):
        Objective({})


@pytest.mark.parametrize("name", ["loss", "type", "keys", "a.b", "a/b", "", "two words"])
def test_names_that_logs_or_torch_use_otherwise_are_refused(name):
    with pytest.raises(InputError, match="another name"):
        Objective({name: Contrastive(["image", "text"])})
