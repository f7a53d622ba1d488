import pytest
import torch
from sklearn.metrics import f1_score, precision_recall_fscore_support

from kdmm.errors import InputError
from kdmm.metrics import F1

NAMES = ["ham", "spam", "list"]


def measured(metric, scores, target, ids=None, **extra):
    ids = [str(n) for n in range(len(scores))] if ids is None else ids
    metric.update({"logits": scores, **extra}, {}, {"id": ids, "label": target})
    return {name: float(value) for name, value in metric.compute().items()}


def test_values_are_scikit_learns():
    scores, target = torch.randn(200, 3), torch.randint(3, (200,))
    found = measured(F1(NAMES), scores, target)
    predicted = scores.argmax(1)
    assert found["f1"] == pytest.approx(f1_score(target, predicted, average="macro"))
    precision, recall, f1, _ = precision_recall_fscore_support(target, predicted)
    for place, name in enumerate(NAMES):
        assert found[f"precision/{name}"] == pytest.approx(precision[place])
        assert found[f"recall/{name}"] == pytest.approx(recall[place])
        assert found[f"f1/{name}"] == pytest.approx(f1[place])
    assert measured(F1(), scores, target) == pytest.approx({"f1": found["f1"]})


def test_counts_by_hand():
    scores = torch.eye(3)[[0, 0, 1, 1, 0]]  # predicted ham, ham, spam, spam, ham
    found = measured(F1(NAMES), scores, torch.tensor([0, 1, 1, 1, -1]))  # the last has no label
    assert found["precision/ham"] == pytest.approx(1 / 2)
    assert found["recall/ham"] == 1
    assert found["recall/spam"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert all(value != value for name, value in found.items() if name.endswith("/list"))  # NaN: nowhere


def test_a_sample_that_comes_again_counts_once_and_one_without_scores_not():
    scores, target = torch.eye(2)[[0, 1, 0]], torch.tensor([0, 1, 1])
    again = measured(F1(NAMES[:2]), torch.cat([scores, scores[:1]]), torch.cat([target, target[:1]]), list("abca"))
    assert again == measured(F1(NAMES[:2]), scores, target, list("abc"))
    flag = torch.tensor([True, True, False])
    assert measured(F1(), scores, target, **{"present/logits": flag})["f1"] == 1


def test_batches_add_up():
    scores, target = torch.randn(40, 3), torch.randint(3, (40,))
    metric = F1(NAMES)
    metric.update({"logits": scores[:25]}, {}, {"id": [str(n) for n in range(25)], "label": target[:25]})
    found = measured(metric, scores[25:], target[25:], [str(n) for n in range(25, 40)])
    assert found == pytest.approx(measured(F1(NAMES), scores, target))


def test_the_teachers_stand_under_its_name():
    metric = F1(["no", "yes"], role="teacher")
    metric.update({}, {"logits": torch.eye(2)}, {"id": ["a", "b"], "label": torch.tensor([0, 1])})
    assert {name: float(value) for name, value in metric.compute().items()} == {
        f"teacher/{name}": 1.0
        for name in ("f1", "f1/no", "f1/yes", "precision/no", "precision/yes", "recall/no", "recall/yes")
    }


def test_what_cannot_be_counted_is_explained():
    scores = torch.eye(2)
    with pytest.raises(InputError, match=r"labels from 0 to 2, but the student has 2 classes"):
        measured(F1(), scores, torch.tensor([0, 2]))
    with pytest.raises(InputError, match=r"F1.class_names: 3 given, and the student scores 2 classes"):
        measured(F1(NAMES), scores, torch.tensor([0, 1]))
    with pytest.raises(InputError, match=r"has seen no sample with a 'label'"):
        measured(F1(), scores, torch.tensor([-1, -1]))
