"""What a module does beside its step: metrics in a sanity check, measuring on other data."""

import json
from pathlib import Path

import pytest

import kdmm
from tests.small_runs import EMOJI, experiment, folder_with_a_teacher

here = pytest.fixture(folder_with_a_teacher)


def test_a_sanity_check_needs_no_pairs_and_logs_nothing(here):
    tree = experiment()
    tree["trainer"] |= {"num_sanity_val_steps": 1, "max_epochs": 1}
    checked = kdmm.fit(tree)
    tree = experiment("unchecked")
    tree["trainer"] |= {"max_epochs": 1}
    unchecked = kdmm.fit(tree)
    assert checked.metrics == unchecked.metrics


def test_other_data_are_measured_on_and_not_written(here):
    run = kdmm.fit(experiment())
    other = experiment("other")
    other["data"]["sources"] = {**EMOJI, "groups": ["Travel & Places"]}
    Path("other.yaml").write_text(json.dumps(other))
    before = (run.dir / "metrics.json").read_bytes()
    elsewhere = kdmm.run.evaluate(run.dir, data="other.yaml")
    assert (run.dir / "metrics.json").read_bytes() == before
    own = kdmm.run.evaluate(run.dir)
    assert elsewhere["test/image_to_text/queries"] != own["test/image_to_text/queries"]
    assert kdmm.run.Run(run.dir).record.split == "test"
