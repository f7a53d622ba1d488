"""Losses as their papers write them: Python numbers in loops, no broadcasting, no masks by multiplication."""

import math

from torch import Tensor


def softmax_contrast(first: Tensor, second: Tensor, scale: float, labels: Tensor, valid: Tensor) -> float:
    pairs = [i for i in range(len(first)) if valid[i]]
    if not pairs:
        return 0.0
    forth = _anchored(first, second, scale, labels, pairs)
    back = _anchored(second, first, scale, labels, pairs)
    return (forth + back) / 2


def anchored_contrast(student: Tensor, teacher: Tensor, scale: float, labels: Tensor, valid: Tensor) -> float:
    pairs = [i for i in range(len(student)) if valid[i]]
    return _anchored(student, teacher, scale, labels, pairs) if pairs else 0.0


def sigmoid_contrast(first: Tensor, second: Tensor, scale: float, bias: float, labels: Tensor, valid: Tensor) -> float:
    pairs = [i for i in range(len(first)) if valid[i]]
    total = 0.0
    for i in pairs:
        for j in pairs:
            sign = 1.0 if labels[i] == labels[j] else -1.0
            z = scale * _dot(first[i], second[j]) + bias
            total += math.log(1 + math.exp(-sign * z))
    return total / len(pairs) if pairs else 0.0


def affinity_divergence(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    student_scale: float,
    teacher_scale: float,
    valid: tuple[Tensor, Tensor],
) -> float:
    first = [i for i in range(len(valid[0])) if valid[0][i]]
    second = [j for j in range(len(valid[1])) if valid[1][j]]
    if not first or not second:
        return 0.0
    forth = back = 0.0
    for i in first:
        p = _softmax([teacher_scale * _dot(teacher[0][i], teacher[1][j]) for j in second])
        q = _softmax([student_scale * _dot(student[0][i], student[1][j]) for j in second])
        forth += _divergence(p, q) / len(first)
    for j in second:
        p = _softmax([teacher_scale * _dot(teacher[0][i], teacher[1][j]) for i in first])
        q = _softmax([student_scale * _dot(student[0][i], student[1][j]) for i in first])
        back += _divergence(p, q) / len(second)
    return (forth + back) / 2


def feature_distance(student: Tensor, teacher: Tensor, valid: Tensor, distance: str) -> float:
    values = []
    for i in range(len(student)):
        if valid[i]:
            u, v = _unit(student[i]), _unit(teacher[i])
            if distance == "mse":
                values.append(sum((a - b) ** 2 for a, b in zip(u, v, strict=True)) / len(u))
            else:
                values.append(1 - sum(a * b for a, b in zip(u, v, strict=True)))
    return sum(values) / len(values) if values else 0.0


def squared_gap(first: Tensor, second: Tensor) -> float:
    means = [[sum(row[d] for row in x.tolist()) / len(x) for d in range(x.shape[1])] for x in (first, second)]
    return sum((a - b) ** 2 for a, b in zip(*means, strict=True))


def gradient_distance(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    student_scale: float,
    teacher_scale: float,
    labels: Tensor,
) -> float:
    ours = _contrast_gradients(*student, student_scale, labels)
    theirs = _contrast_gradients(*teacher, teacher_scale, labels)
    total = 0.0
    for modality in (0, 1):
        for mine, its in zip(ours[modality], theirs[modality], strict=True):
            total += sum((a - b) ** 2 for a, b in zip(mine, its, strict=True))
    return total / len(labels)


def _contrast_gradients(first: Tensor, second: Tensor, scale: float, labels: Tensor) -> list[list[list[float]]]:
    """Of -1/2 sum_i 1/|P(i)| sum_{j in P(i)} (log softmax_j(z_i.) + log softmax_j(z_.i)), term by term."""
    n, width = len(first), first.shape[1]
    z = [[scale * _dot(first[i], second[j]) for j in range(n)] for i in range(n)]
    to_first, to_second = [[0.0] * width for _ in range(n)], [[0.0] * width for _ in range(n)]
    for i in range(n):
        alike = [j for j in range(n) if labels[i] == labels[j]]
        along_row, along_column = _softmax(z[i]), _softmax([z[k][i] for k in range(n)])
        for j in range(n):
            wanted = 1 / len(alike) if j in alike else 0.0
            for row, column, factor in ((i, j, along_row[j] - wanted), (j, i, along_column[j] - wanted)):
                for d in range(width):
                    to_first[row][d] += factor / 2 * scale * float(second[column][d])
                    to_second[column][d] += factor / 2 * scale * float(first[row][d])
    return [to_first, to_second]


def sigmoid_divergence(student: list[list[float]], teacher: list[list[float]]) -> float:
    """From matrices of logits, biases included."""
    total = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        for z, w in zip(ours, theirs, strict=True):
            p, q = 1 / (1 + math.exp(-w)), 1 / (1 + math.exp(-z))
            total += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    return total / len(student)


def logits(first: Tensor, second: Tensor, scale: float, bias: float = 0.0) -> list[list[float]]:
    return [[scale * _dot(a, b) + bias for b in second] for a in first]


def fitted(z: list[list[float]], positives: float) -> list[list[float]]:
    """The logits with the bias, by bisection, that makes the sum of sigmoids ``positives``."""
    low, high = -1000.0, 1000.0
    for _ in range(200):
        bias = (low + high) / 2
        total = sum(1 / (1 + math.exp(-min(max(x + bias, -700.0), 700.0))) for row in z for x in row)
        low, high = (bias, high) if total < positives else (low, bias)
    return [[x + low for x in row] for row in z]


def _anchored(rows: Tensor, columns: Tensor, scale: float, labels: Tensor, pairs: list[int]) -> float:
    total = 0.0
    for i in pairs:
        p = _softmax([scale * _dot(rows[i], columns[j]) for j in pairs])
        found = [-math.log(p[at]) for at, j in enumerate(pairs) if labels[i] == labels[j]]
        total += sum(found) / len(found)
    return total / len(pairs)


def _dot(a: Tensor, b: Tensor) -> float:
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def _unit(a: Tensor) -> list[float]:
    norm = math.sqrt(_dot(a, a))
    return [float(x) / norm for x in a]


def _softmax(z: list[float]) -> list[float]:
    top = max(z)
    weights = [math.exp(x - top) for x in z]
    return [w / sum(weights) for w in weights]


def _divergence(p: list[float], q: list[float]) -> float:
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))
