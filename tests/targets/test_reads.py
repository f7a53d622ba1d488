"""Terms that read what nobody gives are found before anything is built."""

from pathlib import Path

import pytest

from kdmm.targets import check_reads, components, gives


@pytest.fixture(autouse=True)
def _toybox(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "packages"))


def module(*, target="toybox.Module", term=None, student=None, teacher=None):
    node = {"_target_": target, "objective": {"_target_": "toybox.Objective", "terms": {"soft": term}}}
    models = {"student": student, "teacher": teacher}
    return node | {name: model for name, model in models.items() if model is not None}


NET = {"_target_": "toybox.Net", "width": 3}
UNSAID = {"_target_": "torch.nn.Identity"}
PAIR = {"_target_": "toybox.Term", "pair": ["image", "text"]}
AUDIO = {"_target_": "toybox.Term", "pair": ["image", "audio"], "other": "audio"}


def lines(node):
    return [str(problem) for problem in check_reads(node, "module", ["toybox"])]


def test_what_is_given_may_be_read():
    assert lines(module(term=PAIR, student=NET, teacher=NET)) == []


def test_what_is_not_given_is_named():
    assert lines(module(term=AUDIO, student=NET, teacher={"_target_": "toybox.make_net"})) == [
        "module.objective.terms.soft: reads student.audio; the student gives image, logit_scale, text.",
        "module.objective.terms.soft: reads teacher.audio; the teacher gives image, logit_scale, text.",
    ]


def test_the_nearest_name_is_given():
    term = PAIR | {"pair": ["imag", "text"]}
    assert lines(module(term=term, student=NET, teacher=NET))[0].endswith("Did you mean 'image'?")


def test_defaults_of_a_term_count():
    pruned = {"_target_": "toybox.Pruned", "only": "text"}
    assert lines(module(term=PAIR, student=NET, teacher=pruned)) == [
        "module.objective.terms.soft: reads teacher.image; the teacher gives text."
    ]


def test_of_a_silent_model_nothing_is_known():
    assert lines(module(term=AUDIO, student=UNSAID, teacher=UNSAID)) == []
    assert gives(UNSAID) is None
    assert gives({"a": 1}) is None
    assert gives({"_target_": "no.such"}) is None


def test_a_module_without_a_teacher_has_none_to_read():
    assert lines(module(target="toybox.Alone", term=PAIR, student=NET)) == [
        "module.objective.terms.soft: reads teacher.image; there is no teacher."
    ]
    hard = {"_target_": "toybox.Hard"}
    assert lines(module(target="toybox.Alone", term=hard, student=NET)) == []


def test_a_teacher_in_training_is_read_as_the_student():
    hard = {"_target_": "toybox.Hard"}
    pruned = {"_target_": "toybox.Pruned", "only": "image"}
    assert lines(module(target="toybox.TrainsTeacher", term=hard, teacher=NET)) == []
    assert lines(module(target="toybox.TrainsTeacher", term=hard, teacher=pruned)) == [
        "module.objective.terms.soft: reads student.text; the student gives image."
    ]
    assert lines(module(target="toybox.TrainsTeacher", term=PAIR, teacher=NET)) == [
        "module.objective.terms.soft: reads teacher.image; there is no teacher."
    ]


def test_broken_terms_are_left_to_the_check():
    assert lines(module(term={"_target_": "toybox.Term", "pair": "image"}, student=NET, teacher=NET)) == []
    assert lines(module(term={"_target_": "toybox.Trem"}, student=NET, teacher=NET)) == []
    assert lines(module(term=UNSAID, student=NET, teacher=NET)) == []
    assert lines({"_target_": "toybox.Module", "objective": 3}) == []
    assert lines({"_target_": "toybox.Module", "objective": {"terms": [1]}}) == []
    assert lines(None) == []


def test_kdmms_own_terms_and_models_speak_of_themselves():
    affinity = {"_target_": "kdmm.losses.Affinity", "pair": ["image", "audio"]}
    dual = {"_target_": "kdmm.models.DualEncoder"}
    assert lines(module(term=affinity, student=dual, teacher=UNSAID)) == [
        "module.objective.terms.soft: reads student.audio; the student gives image, logit_bias, logit_scale, text."
    ]


def test_the_catalogue_names_what_a_yaml_can_name():
    losses = {component.target: component for component in components("losses")}
    assert losses["kdmm.losses.Affinity"].names == (
        "student.<pair>, student.logit_scale, teacher.<pair>, teacher.logit_scale"
    )
    assert losses["kdmm.losses.FeatureMatch"].names == "student.<student>, teacher.<teacher>"
    assert losses["kdmm.losses.Affinity"].summary.startswith("Soft contrastive distillation")
    assert "kdmm.losses.Term" not in losses  # abstract
    models = {component.target: component for component in components("models")}
    assert models["kdmm.models.DualEncoder"].names == "image, logit_bias, logit_scale, text"
