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
