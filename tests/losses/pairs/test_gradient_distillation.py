import pytest
import torch
import torch.nn.functional as F

from kdmm.losses import GradientDistillation, contrast_gradients, gradient_distance, softmax_contrast
from kdmm.losses.pairs.contrastive import positives
from tests.losses.data import flags, scalar, unit

B, D = 6, 5
STUDENT, TEACHER = (unit(B, D, 1), unit(B, D, 2)), (unit(B, D, 3), unit(B, D, 4))
LABELS = {"distinct": None, "duplicates": torch.tensor([7, 3, 7, 1, 3, 7])}


@pytest.mark.parametrize("labels", LABELS)
def test_the_closed_form_is_autograds_of_the_contrastive_loss(labels):
    first, second = (x.clone().requires_grad_() for x in STUDENT)
    (B * softmax_contrast(first, second, 9.0, LABELS[labels])).backward()
    positive = positives(LABELS[labels], (B,), first.device)
    found = contrast_gradients(*STUDENT, 9.0, positive, (B,))
    torch.testing.assert_close(found, torch.stack([first.grad, second.grad]), rtol=1e-12, atol=1e-14)


def test_values_are_those_of_the_gradients():
    eye = torch.eye(B, dtype=torch.bool)
    ours, theirs = (contrast_gradients(*x, scale, eye, (B,)) for x, scale in ((STUDENT, 9.0), (TEACHER, 20.0)))
    expected = (ours - theirs).square().sum(2).sum(0)
    torch.testing.assert_close(gradient_distance(*STUDENT, *TEACHER, 9.0, 20.0), expected)


def test_a_teacher_whose_pairs_are_told_apart_asks_for_no_gradient():
    """Then the value is the square of the student's own: orthogonal pairs, at a scale of 1000."""
    teacher = torch.eye(B, dtype=torch.float64), torch.eye(B, dtype=torch.float64)
    student = [F.pad(x, (0, 1)) for x in STUDENT]
    own = contrast_gradients(*student, 9.0, torch.eye(B, dtype=torch.bool), (B,))
    found = gradient_distance(*student, *teacher, 9.0, 1000.0)
    torch.testing.assert_close(found, own.square().sum((0, 2)))


def test_its_size_does_not_depend_on_the_number_of_pairs():
    """Of two far copies of a batch every pair keeps its gradient, where CLIP-KD's shrinks to a half."""

    def beside(pair, coordinate):  # unit vectors; of unequal coordinates the cosine is at most -1/2
        return [torch.cat([x / 2, torch.full((B, 1), coordinate, dtype=torch.float64)], 1) for x in pair]

    here, there = 0.75**0.5, -(0.75**0.5)
    once = gradient_distance(*beside(STUDENT, here), *beside(TEACHER, here), 60.0, 90.0)
    both = [
        torch.cat(parts)
        for pair in (STUDENT, TEACHER)
        for parts in zip(beside(pair, here), beside(pair, there), strict=True)
    ]
    torch.testing.assert_close(gradient_distance(*both, 60.0, 90.0), once.repeat(2))


def test_it_keeps_no_more_than_matrices_of_the_batch():
    n, width, sizes = 32, 48, []

    def note(x):
        sizes.append(x.numel())
        return x

    first, second = (unit(n, width, seed, torch.float32).requires_grad_() for seed in (1, 2))
    teacher = unit(n, width, 3, torch.float32), unit(n, width, 4, torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        gradient_distance(first, second, *teacher, 9.0, 9.0).sum().backward()
    assert max(sizes) <= 2 * n * max(n, width)  # B x B x D would be 24 times that


def outputs(pair, scale, **extra):
    return {"image": pair[0], "text": pair[1], "logit_scale": scalar(scale), **extra}


def test_each_model_has_its_own_scale_unless_set():
    value = GradientDistillation(["image", "text"])(outputs(STUDENT, 9.0), outputs(TEACHER, 20.0), {})
    torch.testing.assert_close(value, gradient_distance(*STUDENT, *TEACHER, 9.0, 20.0).mean())
    term = GradientDistillation(["image", "text"], teacher_temperature=0.1, student_temperature=0.2)
    value = term(outputs(STUDENT, 9.0), outputs(TEACHER, 20.0), {})
    torch.testing.assert_close(value, gradient_distance(*STUDENT, *TEACHER, 5.0, 10.0).mean())


def test_pairs_that_either_model_lacks_do_not_count():
    student = outputs(STUDENT, 9.0, **{"present/image": flags("110111")})
    teacher = outputs(TEACHER, 20.0, **{"present/text": flags("111101")})
    valid = flags("110101")
    rows = [x[valid] for x in (*STUDENT, *TEACHER)]
    value = GradientDistillation(["image", "text"])(student, teacher, {})
    torch.testing.assert_close(value, gradient_distance(*rows, 9.0, 20.0).mean())
