import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torchmetrics.classification import MulticlassJaccardIndex

from kdmm.errors import InputError
from kdmm.metrics import MeanIoU
from tests import two_processes
from tests.losses.data import flags
from tests.metrics.functional.test_boundary import slow

B, C, H, W = 3, 4, 10, 12
IDS = ["a", "b", "c"]


def case(seed=0, classes=C):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, classes, (B, 4, 4), generator=generator)
    target = F.interpolate(coarse[:, None].float(), size=(H, W)).long()[:, 0]
    scores = F.one_hot(target, classes).movedim(-1, 1) + torch.randn(B, classes, H, W, generator=generator) * 0.8
    target[0, :3] = 255
    return scores, target


def measured(scores, target, ids=IDS, flag=None, **settings):
    metric = MeanIoU(**settings)
    extra = {} if flag is None else {"present/logits": flag}
    metric.update({"logits": scores, **extra}, {}, {"id": ids, "label_map": target})
    return {name: float(value) for name, value in metric.compute().items()}


def by_hand(scores, target, classes=C, part=0.02):
    """IoUs of areas and of edges by class, counted pixel by pixel; None for a class without a pixel."""
    distance = max(1, round(part * math.hypot(H, W)))
    area, edge = ([[0, 0] for _ in range(classes)] for _ in range(2))
    right = total = 0
    for sample, wanted in zip(scores, target, strict=True):
        predicted = sample.argmax(0)
        for c in range(classes):
            ours, theirs = ((each == c) & (wanted != 255) for each in (predicted, wanted))
            near = slow(ours, distance), slow(theirs, distance)
            for y, x in product(range(H), range(W)):
                for counts, (one, other) in ((area, (ours, theirs)), (edge, near)):
                    counts[c][0] += bool(one[y, x]) and bool(other[y, x])
                    counts[c][1] += bool(one[y, x]) or bool(other[y, x])
        right += int(((predicted == wanted) & (wanted != 255)).sum())
        total += int((wanted != 255).sum())
    ious = [[both / either if either else None for both, either in counts] for counts in (area, edge)]
    means = [sum(x for x in each if x is not None) / sum(x is not None for x in each) for each in ious]
    return {"miou": means[0], "boundary_iou": means[1], "pixel_accuracy": right / total}, ious[0]


@pytest.mark.parametrize("part", [0.02, 0.15])
def test_it_counts_pixels(part):
    scores, target = case()
    expected, ious = by_hand(scores, target, part=part)
    names = ["ground", "tree", "house", "sky"]
    found = measured(scores, target, class_names=names, boundary=part)
    assert found == pytest.approx({**expected, **{f"iou/{n}": iou for n, iou in zip(names, ious, strict=True)}})
    jaccard = MulticlassJaccardIndex(C, ignore_index=255)(scores, target)
    assert found["miou"] == pytest.approx(jaccard.item())


def test_a_class_that_is_nowhere_has_no_value_and_one_predicted_alone_has_0():
    scores, target = case(1)
    target[target == 3] = 255
    scores[:, 3] = -9  # class 3: neither labelled nor predicted
    scores[1, 2, 5, 5] = 99
    target[target == 2] = 1  # class 2: predicted alone
    names = ["ground", "tree", "house", "sky"]
    found = measured(scores, target, class_names=names)
    assert math.isnan(found["iou/sky"])
    assert found["iou/house"] == 0
    assert found["miou"] == pytest.approx((found["iou/ground"] + found["iou/tree"]) / 3)
    assert found["miou"] == pytest.approx(by_hand(scores, target)[0]["miou"])
    assert found["boundary_iou"] == pytest.approx(by_hand(scores, target)[0]["boundary_iou"])


def test_what_the_model_says_of_an_ignored_pixel_does_not_matter():
    scores, target = case()
    other = torch.where((target == 255)[:, None], torch.randn_like(scores) * 9, scores)
    assert measured(other, target) == measured(scores, target)
    whole = F.one_hot(target.clamp(max=C - 1), C).movedim(-1, 1).float()
    assert measured(whole, target) == {"miou": 1.0, "pixel_accuracy": 1.0, "boundary_iou": 1.0}


def test_logits_are_interpolated_to_the_labels():
    scores, target = case()
    small = scores[:, :, ::2, ::2]
    resized = F.interpolate(small, size=(H, W), mode="bilinear", align_corners=False)
    assert measured(small, target) == measured(resized, target) != measured(scores, target)
    assert measured(scores.bfloat16(), target) == measured(scores.bfloat16().float(), target)


def test_batches_add_up_a_sample_that_comes_again_counts_once_and_one_without_logits_not():
    scores, target = case()
    metric = MeanIoU()
    for rows in (slice(0, 1), slice(1, 3), slice(2, 3)):
        metric.update({"logits": scores[rows]}, {}, {"id": IDS[rows], "label_map": target[rows]})
    assert {name: float(value) for name, value in metric.compute().items()} == measured(scores, target)
    seen = flags("101")
    assert measured(scores, target, flag=seen) == measured(scores[seen], target[seen], ["a", "c"])


def test_the_teachers_stand_under_its_name_and_edges_can_be_left_out():
    scores, target = case()
    metric = MeanIoU(role="teacher", boundary=None)
    metric.update({}, {"logits": scores}, {"id": IDS, "label_map": target})
    found = metric.compute()
    assert set(found) == {"teacher/miou", "teacher/pixel_accuracy"}
    assert float(found["teacher/miou"]) == pytest.approx(measured(scores, target)["miou"])


def test_what_cannot_be_counted_is_explained():
    scores, target = case()
    with pytest.raises(InputError, match=r"labels from 0 to 3, but the student scores 3 classes"):
        measured(scores[:, :3], target)
    with pytest.raises(InputError, match=r"has seen no pixel with a 'label_map'"):
        measured(scores, torch.full_like(target, 255))
    with pytest.raises(InputError, match=r"class_names: 2 given, and the student scores 4 classes"):
        measured(scores, target, class_names=["a", "b"])
    with pytest.raises(InputError, match=r"MeanIoU reads 'label_map' from the batch"):
        MeanIoU().update({"logits": scores}, {}, {"id": IDS})
    with pytest.raises(InputError, match=r"MeanIoU\.boundary: 0"):
        MeanIoU(boundary=0.0)


def ranks_work():
    scores, target = case()
    rank = torch.distributed.get_rank()
    rows = slice(0, 2) if rank == 0 else slice(1, 3)  # sample b comes on both
    metric = MeanIoU()
    metric.update({"logits": scores[rows]}, {}, {"id": IDS[rows], "label_map": target[rows]})
    return {name: float(value) for name, value in metric.compute().items()}


def test_two_processes_give_the_values_of_one(tmp_path):
    expected = measured(*case())
    for found in two_processes.run(ranks_work, tmp_path):
        assert found == pytest.approx(expected)
