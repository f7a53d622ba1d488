import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.metrics import MeanAveragePrecision
from tests import two_processes

pytest.importorskip("pycocotools")

WHOLE = [0.0, 0.0, 100.0, 100.0]
LEFT = [0.0, 0.0, 62.0, 100.0]  # overlaps WHOLE by 0.62
OTHER = [0.0, 200.0, 50.0, 250.0]


def pictures(*each):
    """A batch of (detections as (box, score, class), objects as (box, class), whether it is marked)."""
    most = max(1, *(len(found) for found, *_ in each))
    rows, there = torch.zeros(len(each), most, 6), torch.zeros(len(each), most, dtype=torch.bool)
    for n, (found, *_) in enumerate(each):
        for k, (box, score, number) in enumerate(found):
            rows[n, k], there[n, k] = torch.tensor([*box, score, number]), True
    batch = {
        "id": [f"p{n}" for n in range(len(each))],
        "boxes": [torch.tensor([box for box, _ in objects]).reshape(-1, 4) for _, objects, _ in each],
        "box_classes": [torch.tensor([number for _, number in objects], dtype=torch.long) for _, objects, _ in each],
        "marked": torch.tensor([marked for *_, marked in each]),
    }
    return {"detections": rows, "valid/detections": there}, batch


def measured(*each, metric=None, **settings):
    metric = MeanAveragePrecision(**settings) if metric is None else metric
    outputs, batch = pictures(*each)
    metric.update(outputs, {}, batch)
    return {name: float(value) for name, value in metric.compute().items()}


def test_every_object_found_exactly_is_one_and_a_wrong_class_is_none():
    found = measured(([(WHOLE, 0.9, 0), (OTHER, 0.3, 1)], [(WHOLE, 0), (OTHER, 1)], True))
    assert found == pytest.approx({"map": 1.0, "map_50": 1.0, "map_75": 1.0, "mar_100": 1.0})
    assert measured(([(WHOLE, 0.9, 1)], [(WHOLE, 0)], True))["map"] == 0


def test_a_box_that_overlaps_by_62_hundredths_counts_at_three_of_ten_thresholds():
    found = measured(([(LEFT, 0.9, 0)], [(WHOLE, 0)], True))
    assert found == pytest.approx({"map": 0.3, "map_50": 1.0, "map_75": 0.0, "mar_100": 0.3})


def test_a_wrong_box_before_a_right_one_halves_the_precision():
    found = measured(([(OTHER, 0.9, 0), (WHOLE, 0.8, 0)], [(WHOLE, 0)], True))
    assert found["map"] == pytest.approx(0.5)
    assert found["mar_100"] == pytest.approx(1.0)
    assert measured(([(OTHER, 0.7, 0), (WHOLE, 0.8, 0)], [(WHOLE, 0)], True))["map"] == pytest.approx(1.0)


def test_an_object_that_is_not_found_costs_half_of_the_recall():
    """Precision 1 up to recall 0.5, 0 beyond: 51 of COCO's 101 places."""
    found = measured(([(WHOLE, 0.9, 0)], [(WHOLE, 0), (OTHER, 0)], True))
    assert found["map"] == pytest.approx(51 / 101)
    assert found["mar_100"] == pytest.approx(0.5)


def test_what_is_found_where_nothing_is_is_wrong():
    right = ([(WHOLE, 0.5, 0)], [(WHOLE, 0)], True)
    assert measured(right, ([(WHOLE, 0.9, 0)], [], True))["map"] == pytest.approx(0.5)
    assert measured(right, ([], [], True))["map"] == pytest.approx(1.0)
    assert measured(right, ([], [(WHOLE, 0)], True))["map"] == pytest.approx(51 / 101)
    assert measured(([], [(WHOLE, 0)], True))["map"] == 0


def test_pictures_that_nobody_marked_do_not_count():
    right = ([(WHOLE, 0.5, 0)], [(WHOLE, 0)], True)
    assert measured(right, ([(WHOLE, 0.9, 0)], [], False))["map"] == pytest.approx(1.0)


def test_detections_that_are_not_there_do_not_count():
    outputs, batch = pictures(([(OTHER, 0.9, 0), (WHOLE, 0.8, 0)], [(WHOLE, 0)], True))
    outputs["valid/detections"][0, 0] = False
    metric = MeanAveragePrecision()
    metric.update(outputs, {}, batch)
    assert metric.compute()["map"] == pytest.approx(1.0)


def test_each_class_has_its_own_value_and_one_without_objects_has_none():
    each = ([(WHOLE, 0.9, 0), (LEFT, 0.9, 2)], [(WHOLE, 0), (WHOLE, 2)], True)
    found = measured(each, class_names=["cat", "dog", "cow"])
    assert found["ap/cat"] == pytest.approx(1.0)
    assert found["ap/cow"] == pytest.approx(0.3)
    assert math.isnan(found["ap/dog"])
    assert found["map"] == pytest.approx(0.65)
    with pytest.raises(InputError, match="an object is of class 2, and 2 names are given"):
        measured(each, class_names=["cat", "dog"])


@pytest.mark.parametrize("each", [[(WHOLE, 0.9, 0)], []])
def test_pictures_without_any_object_have_no_value(each):
    found = measured((each, [], True), class_names=["cat", "dog"])
    assert list(found) == ["map", "map_50", "map_75", "mar_100", "ap/cat", "ap/dog"]
    assert all(math.isnan(value) for value in found.values())


def test_a_picture_that_comes_again_counts_once_and_batches_add_up():
    metric = MeanAveragePrecision()
    right, wrong = ([(WHOLE, 0.5, 0)], [(WHOLE, 0)], True), ([(OTHER, 0.9, 0)], [(WHOLE, 0)], True)
    outputs, batch = pictures(right, wrong)
    metric.update(outputs, {}, batch)
    once = metric.compute()["map"]
    assert once == pytest.approx(0.5 * 51 / 101)  # the wrong one has the higher score
    metric.update(outputs, {}, batch)
    assert metric.compute()["map"] == once


def test_the_teachers_values_stand_under_its_name():
    outputs, batch = pictures(([(WHOLE, 0.9, 0)], [(WHOLE, 0)], True))
    metric = MeanAveragePrecision(role="teacher")
    metric.update({}, outputs, batch)
    assert metric.compute()["teacher/map"] == pytest.approx(1.0)
    with pytest.raises(InputError, match=r"reads student\.detections"):
        MeanAveragePrecision().update({}, outputs, batch)


def test_samples_without_a_picture_do_not_count():
    outputs, batch = pictures(([(OTHER, 0.9, 0)], [(WHOLE, 0)], True), ([(WHOLE, 0.9, 0)], [(WHOLE, 0)], True))
    outputs["present/detections"] = torch.tensor([False, True])
    metric = MeanAveragePrecision()
    metric.update(outputs, {}, batch)
    assert metric.compute()["map"] == pytest.approx(1.0)


def test_what_cannot_be_measured_is_explained(monkeypatch):
    with pytest.raises(InputError, match="seen no marked picture"):
        measured(([(WHOLE, 0.9, 0)], [(WHOLE, 0)], False))
    outputs, batch = pictures(([], [], True))
    del batch["boxes"]
    with pytest.raises(InputError, match="reads 'boxes' from the batch"):
        MeanAveragePrecision().update(outputs, {}, batch)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'kdmm\[detection\]'"):
        MeanAveragePrecision()


EACH = [
    ([(WHOLE, 0.9, 0), (OTHER, 0.4, 1)], [(WHOLE, 0)], True),
    ([(LEFT, 0.8, 0)], [(WHOLE, 0), (OTHER, 1)], True),
    ([], [(OTHER, 1)], True),
    ([(OTHER, 0.7, 1)], [(OTHER, 1)], True),
    ([(OTHER, 0.6, 1)], [], True),
]


def of_rank():
    from kdmm.distributed import rank

    outputs, batch = pictures(*EACH)
    rows = [0, 1, 2, 3] if rank() == 0 else [4, 0]  # unequal, and one comes again
    metric = MeanAveragePrecision()
    metric.update(
        {name: x[rows] for name, x in outputs.items()},
        {},
        {name: x[rows] if name == "marked" else [x[row] for row in rows] for name, x in batch.items()},
    )
    return {name: float(value) for name, value in metric.compute().items()}


def test_two_processes_see_what_one_sees(tmp_path):
    alone = measured(*EACH)
    assert 0 < alone["map"] < 1
    for found in two_processes.run(of_rank, tmp_path):
        assert found == pytest.approx(alone)
