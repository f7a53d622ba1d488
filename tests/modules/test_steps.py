"""What a module does in its step and beside it: memory, metrics in a sanity check, measuring on other data."""

import json
from pathlib import Path

import pytest
import torch

import kdmm
from kdmm.analysis.memory import LiveBytes
from kdmm.losses import FeatureMatch, Objective
from kdmm.models import Preprocess
from kdmm.modules import DistillationModule, Optimization
from kdmm.teachers import Frozen
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


class Wide(torch.nn.Module):
    """Takes 1 MiB for a moment, and keeps it where there is a graph."""

    def __init__(self):
        super().__init__()
        self.preprocess = Preprocess()
        self.wide = torch.nn.Linear(1, 1 << 18, bias=False)

    def forward(self, batch):
        return {"x": self.wide(batch["x"]).square().mean(1, keepdim=True)}


def test_what_the_teacher_takes_for_a_moment_does_not_stand_on_the_students_graph():
    student, teacher = Wide(), Wide()
    module = DistillationModule(
        student, Frozen(teacher), Objective({"kd": FeatureMatch("x", "x")}), Optimization(torch.optim.SGD), metrics={}
    )
    batch = {"student": {"x": torch.ones(1, 1)}, "teacher": {"x": torch.ones(1, 1)}}
    weights = [*student.parameters(), *teacher.parameters()]
    alone = LiveBytes(torch.device("cpu"), weights)
    with alone:
        kept = student(batch["student"])
    both = LiveBytes(torch.device("cpu"), weights)
    with both:
        kept = module.outputs(batch)
    assert kept[1]["x"] > 0
    assert alone.peak >= 4 << 20  # two of weights
    assert both.peak <= alone.peak + 1024
