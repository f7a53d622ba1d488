import copy
import pickle

import pytest

from kdmm.losses import Affinity, FeatureMatch, Fit, Linear
from kdmm.targets import build, node


def test_a_term_says_which_yaml_makes_it():
    term = Affinity(["image", "text"], teacher_temperature=0.02)
    assert node(term) == {
        "_target_": "kdmm.losses.Affinity",
        "pair": ["image", "text"],
        "teacher_temperature": 0.02,
    }
    assert node(build(node(term))) == node(term)


def test_schedules_and_nested_values_are_written_out():
    assert node({"a": [Linear(0, 1, until=0.5), None, 2]}) == {
        "a": [{"_target_": "kdmm.losses.Linear", "start": 0, "end": 1, "since": 0.0, "until": 0.5}, None, 2]
    }


def test_what_cannot_be_written_is_left_open():
    assert node(FeatureMatch("image", "image", adapter=Fit()))["adapter"] == "???"
    assert node(object()) == "???"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda term: pickle.loads(pickle.dumps(term))])
def test_copies_know_it_too(copied):
    term = Affinity(["image", "text"])
    assert node(copied(term)) == node(term)
