import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdmm.distributed import rank
from kdmm.losses import Contrastive, GapLoss, Objective, squared_gap
from kdmm.metrics import ModalityGap, Retrieval
from tests import two_processes
from tests.losses.data import flags, unit

PAIR = ["image", "text"]
ALL = torch.ones(3, dtype=torch.bool)


def test_two_centroids_in_closed_form():
    first = torch.tensor([[1.0, 0], [3, 0], [2, 6]])  # their mean is (2, 2)
    second = torch.tensor([[5.0, 6], [5, 6], [5, 6]])
    assert squared_gap(first, second, ALL, ALL) == 3**2 + 4**2
    assert squared_gap(first, first.flip(0), ALL, ALL) == 0


def test_each_modality_counts_where_it_is():
    first = torch.tensor([[1.0, 0], [3, 0], [99, 99]])
    second = torch.tensor([[7.0, 7], [2, 0], [2, 8]])
    assert squared_gap(first, second, flags("110"), flags("011")) == 4**2
    assert squared_gap(first, second, flags("110"), flags("000")) == 0


def test_it_is_the_square_of_what_is_measured():
    image, text = unit(40, 6, 1, torch.float32), F.normalize(unit(40, 6, 2, torch.float32) + 0.3, dim=1)
    metric = ModalityGap()
    metric.update({"image": image, "text": text}, {}, {"id": list(map(str, range(40))), "caption_id": torch.arange(40)})
    measured = metric.compute()["image_text_gap/centroid_distance"].item()
    assert GapLoss(PAIR)({"image": image, "text": text}, {}, {}).item() == pytest.approx(measured**2, rel=1e-5)


def ranks_without_a_modality():
    """Rank 0 has no text, rank 1 one picture of three."""
    image, text = unit(5, 4, 1).requires_grad_(), unit(5, 4, 2).requires_grad_()
    there = {"present/image": flags("11001"), "present/text": flags("00111")}
    rows = [slice(0, 2), slice(2, 5)][rank()] if torch.distributed.is_initialized() else slice(0, 5)
    value = GapLoss(PAIR)({"image": image[rows], "text": text[rows], **{k: x[rows] for k, x in there.items()}}, {}, {})
    value.backward()
    return {"value": value.detach(), "image": image.grad, "text": text.grad}


def test_a_rank_may_lack_a_modality(tmp_path):
    alone = ranks_without_a_modality()
    first, second = two_processes.run(ranks_without_a_modality, tmp_path)
    assert alone["value"] > 0
    assert alone["image"][3].eq(0).all()
    for name, expected in alone.items():  # each rank's gradient is 0 at the other's rows
        torch.testing.assert_close((first[name] + second[name]) / 2, expected)


class Student(nn.Module):
    """Two linear towers whose biases, of opposite signs, put the modalities apart."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.towers = nn.ModuleDict({name: nn.Linear(16, 16) for name in PAIR})
        for sign, tower in zip((1, -1), self.towers.values(), strict=True):
            nn.init.constant_(tower.bias, sign * 0.6)

    def forward(self, inputs):
        rows = {name: F.normalize(tower(inputs[name]), dim=1) for name, tower in self.towers.items()}
        return {**rows, "logit_scale": torch.tensor(20.0)}


def inputs(count, seed):
    """Two noisy views of what a pair shares."""
    shared, *noise = torch.randn(3, count, 16, generator=torch.Generator().manual_seed(seed))
    return {name: shared + 0.7 * each for name, each in zip(PAIR, noise, strict=True)}


def measured(student):
    ids = {"id": list(map(str, range(200))), "caption_id": torch.arange(200)}
    values = {}
    for metric in (ModalityGap(), Retrieval(k=[1])):
        metric.update({k: x.detach() for k, x in student(inputs(200, 9)).items()}, {}, ids)
        values |= {name: value.item() for name, value in metric.compute().items()}
    return values


def trained(weight):
    student = Student()
    terms = {"hard": Contrastive(PAIR), "gap": GapLoss(PAIR)}
    objective = Objective(terms, {"hard": 1.0, "gap": weight})
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    for step in range(50):
        loss, _ = objective(student(inputs(64, 100 + step)), {}, {})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return measured(student)


def test_fifty_steps_close_a_gap_made_on_purpose_and_contrast_alone_does_not():
    before, without, after = measured(Student()), trained(0.0), trained(10.0)
    distance, separability = "image_text_gap/centroid_distance", "image_text_gap/separability"
    assert before[distance] > 1.2
    assert without[distance] > 1  # a contrast keeps the gap that it starts with, and it was 1.3
    assert after[distance] < 0.3  # less than a quarter
    assert before[separability] == without[separability] == 1 > after[separability]
    assert before["recall@1"] < 0.01 < 0.35 < without["recall@1"] - 0.05 < after["recall@1"]
