import math

import torch

from kdmm.metrics import retention


def test_qualities_are_divided_and_ranks_left_out() -> None:
    student = {"image_to_text/recall@5": torch.tensor(0.3), "recall@1": 0.2, "zero_shot/top1": 0.5, "median_rank": 9.0}
    teacher = {"image_to_text/recall@5": 0.4, "recall@1": 0.0, "zero_shot/top1": torch.tensor(0.5), "median_rank": 3.0}
    found = retention({**student, "loss": 1.0, "recall@7": 0.1, "image_to_text/queries": 5.0}, {**teacher, "loss": 2.0})
    assert found.keys() == {"retention/image_to_text/recall@5", "retention/recall@1", "retention/zero_shot/top1"}
    assert math.isclose(found["retention/image_to_text/recall@5"], 0.75, rel_tol=1e-6)
    assert math.isnan(found["retention/recall@1"])
    assert found["retention/zero_shot/top1"] == 1


def test_a_model_retains_all_of_itself() -> None:
    values = {"recall@1": 0.1, "zero_shot/mean_per_class": 0.7}
    assert set(retention(values, values).values()) == {1.0}


def test_the_accuracy_of_a_class_is_a_quality_whatever_the_class_is_called() -> None:
    names = ["zero_shot/class/cat", "zero_shot/class/top hat", "zero_shot_audio/class/sea/waves"]
    found = retention(dict.fromkeys(names, 0.2), dict.fromkeys(names, 0.4))
    assert found == {f"retention/{name}": 0.5 for name in names}
