import torch

from kdmm.metrics.functional import per_class_accuracy


def test_each_class_that_occurs_has_its_share():
    target = torch.tensor([4, 1, 4, 4, 9, 1])
    correct = torch.tensor([True, False, False, True, True, False])
    classes, accuracies = per_class_accuracy(correct, target)
    assert classes.tolist() == [1, 4, 9]
    torch.testing.assert_close(accuracies, torch.tensor([0, 2 / 3, 1]))
