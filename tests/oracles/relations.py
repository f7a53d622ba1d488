"""Losses between samples as their papers write them: Python numbers in loops over rows of flat vectors."""

import math

from torch import Tensor

Rows = list[list[float]]


def rows(x: Tensor) -> Rows:
    return x.flatten(1).tolist()


def rkd_distance(student: Rows, teacher: Rows) -> float:
    n, s, t = len(student), _relative(student), _relative(teacher)
    return sum(_huber(s[i][j] - t[i][j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))


def rkd_angle(student: Rows, teacher: Rows) -> float:
    n, values = len(student), []
    for i in range(n):
        for j in range(n):
            for k in range(n):
                if len({i, j, k}) == 3:
                    a, b = (_cosine(_minus(x[j], x[i]), _minus(x[k], x[i])) for x in (student, teacher))
                    values.append(_huber(a - b))
    return sum(values) / len(values)


def pkt(student: Rows, teacher: Rows) -> float:
    total = 0.0
    for i in range(len(student)):
        others = [j for j in range(len(student)) if j != i]
        p, q = ([(1 + _cosine(x[i], x[j])) / 2 for j in others] for x in (teacher, student))
        p, q = [a / sum(p) for a in p], [b / sum(q) for b in q]
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return total / len(student)


def similarity_preserving(student: Rows, teacher: Rows) -> float:
    n, total = len(student), 0.0
    for i in range(n):
        g, h = ([_dot(x[i], x[j]) for j in range(n)] for x in (student, teacher))
        total += sum((a / _norm(g) - b / _norm(h)) ** 2 for a, b in zip(g, h, strict=True))
    return total / n**2


def correlation_congruence(student: Rows, teacher: Rows, kernel: str, gamma: float = 0.4, order: int = 2) -> float:
    def k(a: list[float], b: list[float]) -> float:
        c = _cosine(a, b)
        if kernel == "bilinear":
            return c
        return sum(math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) * c**p for p in range(order + 1))

    n = len(student)
    return sum((k(student[i], student[j]) - k(teacher[i], teacher[j])) ** 2 for i in range(n) for j in range(n)) / n**2


def cka(student: Rows, teacher: Rows) -> float:
    """1 - |YᵀX|² / (|XᵀX| |YᵀY|) on columns without their mean: the form over features, not over samples."""
    x, y = _columns(student), _columns(teacher)

    def product(a: Rows, b: Rows) -> float:
        return sum(_dot(p, q) ** 2 for p in a for q in b)

    return 1 - product(x, y) / math.sqrt(product(x, x) * product(y, y))


def noise_contrast(
    student: Rows, teacher: Rows, bank: tuple[Rows, Rows], temperature: float, alike: list[list[bool]]
) -> float:
    """CRD in both directions; ``bank`` holds vectors of the student and of the teacher, of other samples.

    ``alike[i][j]``: whether sample j of the batch, or j - n of the bank, is no negative of i.
    """
    total, n = 0.0, len(student)
    for anchors, partners, stored in ((student, teacher, bank[1]), (teacher, student, bank[0])):
        candidates = partners + stored
        e = [[math.exp(_dot(a, c) / temperature) for c in candidates] for a in anchors]
        negatives = [[j for j in range(len(candidates)) if not alike[i][j]] for i in range(n)]
        every = [e[i][j] for i in range(n) for j in negatives[i]]
        mean = sum(every) / len(every)
        for i in range(n):
            number = len(negatives[i])
            total -= math.log(e[i][i] / mean / (e[i][i] / mean + number))
            total -= sum(math.log(1 - e[i][j] / mean / (e[i][j] / mean + number)) for j in negatives[i])
    return total / n


def _relative(x: Rows) -> Rows:
    n = len(x)
    d = [[_norm(_minus(x[i], x[j])) for j in range(n)] for i in range(n)]
    mean = sum(d[i][j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return [[each / mean for each in row] for row in d]


def _columns(x: Rows) -> Rows:
    columns = [list(column) for column in zip(*x, strict=True)]
    return [[each - sum(column) / len(column) for each in column] for column in columns]


def _huber(x: float) -> float:
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def _minus(a: list[float], b: list[float]) -> list[float]:
    return [x - y for x, y in zip(a, b, strict=True)]


def _dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _norm(a: list[float]) -> float:
    return math.sqrt(_dot(a, a))


def _cosine(a: list[float], b: list[float]) -> float:
    return _dot(a, b) / (_norm(a) * _norm(b))
