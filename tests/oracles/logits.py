"""Losses on class scores as their papers write them: Python numbers in loops."""

import math

Row = list[float]


def rows(x) -> list[Row]:
    return [[float(v) for v in row] for row in x]


def softmax(z: Row, temperature: float = 1.0) -> Row:
    top = max(z)
    weights = [math.exp((x - top) / temperature) for x in z]
    return [w / sum(weights) for w in weights]


def kl(p: Row, q: Row) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def mean(values: Row) -> float:
    return sum(values) / len(values) if values else 0.0


def divergence(student: Row, teacher: Row, kind: str, temperature: float) -> float:
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    if kind == "forward":
        value = kl(p, q)
    elif kind == "reverse":
        value = kl(q, p)
    else:
        m = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        value = (kl(p, m) + kl(q, m)) / 2
    return temperature**2 * value


def standardized(z: Row) -> Row:
    centre = mean(z)
    std = math.sqrt(mean([(x - centre) ** 2 for x in z]))
    return [(x - centre) / std for x in z]


def kd(student, teacher, temperature: float, kind: str = "forward", standardize: bool = False) -> float:
    values = []
    for ours, theirs in zip(rows(student), rows(teacher), strict=True):
        if standardize:
            ours, theirs = standardized(ours), standardized(theirs)
        values.append(divergence(ours, theirs, kind, temperature))
    return mean(values)


def labelled(student, teacher, labels) -> list[tuple[Row, Row, int]]:
    triples = zip(rows(student), rows(teacher), labels.tolist(), strict=True)
    return [triple for triple in triples if triple[2] >= 0]


def smoothed_cross_entropy(z: Row, label: int, smoothing: float) -> float:
    q = softmax(z)
    target = [smoothing / len(z) + (1 - smoothing if c == label else 0) for c in range(len(z))]
    return -sum(t * math.log(x) for t, x in zip(target, q, strict=True) if t > 0)


def cross_entropy(scores, labels, smoothing: float) -> float:
    return mean([smoothed_cross_entropy(z, y, smoothing) for z, _, y in labelled(scores, scores, labels)])


def without(p: Row, label: int) -> Row:
    """What is left besides the label, scaled to sum to one."""
    rest = [x for c, x in enumerate(p) if c != label]
    return [x / sum(rest) for x in rest]


def dkd(student, teacher, labels, alpha: float, beta: float, temperature: float) -> float:
    values = []
    for ours, theirs, y in labelled(student, teacher, labels):
        p, q = softmax(theirs, temperature), softmax(ours, temperature)
        target = kl([p[y], 1 - p[y]], [q[y], 1 - q[y]])
        values.append(temperature**2 * (alpha * target + beta * kl(without(p, y), without(q, y))))
    return mean(values)


def nkd(student, teacher, labels, gamma: float, temperature: float) -> float:
    values = []
    for ours, theirs, y in labelled(student, teacher, labels):
        target = -softmax(theirs)[y] * math.log(softmax(ours)[y])
        p, q = without(softmax(theirs, temperature), y), without(softmax(ours, temperature), y)
        values.append(target - gamma * temperature**2 * sum(a * math.log(b) for a, b in zip(p, q, strict=True)))
    return mean(values)


def nkd_least(teacher, labels, gamma: float, temperature: float) -> float:
    values = []
    for theirs, _, y in labelled(teacher, teacher, labels):
        p = without(softmax(theirs, temperature), y)
        values.append(-gamma * temperature**2 * sum(a * math.log(a) for a in p))
    return mean(values)


def pearson(a: Row, b: Row) -> float:
    u, v = [x - mean(a) for x in a], [x - mean(b) for x in b]
    return sum(x * y for x, y in zip(u, v, strict=True)) / math.sqrt(sum(x * x for x in u) * sum(y * y for y in v))


def columns(x: list[Row]) -> list[Row]:
    return [[row[c] for row in x] for c in range(len(x[0]))]


def dist(student, teacher, beta: float, gamma: float, temperature: float) -> float:
    q, p = ([softmax(z, temperature) for z in rows(x)] for x in (student, teacher))
    inter = mean([1 - pearson(a, b) for a, b in zip(q, p, strict=True)])
    intra = mean([1 - pearson(a, b) for a, b in zip(columns(q), columns(p), strict=True)])
    return temperature**2 * (beta * inter + gamma * intra)


def gram(x: list[Row]) -> list[Row]:
    return [[sum(a * b for a, b in zip(i, j, strict=True)) for j in x] for i in x]


def squares(a: list[Row], b: list[Row]) -> float:
    return sum((x - y) ** 2 for i, j in zip(a, b, strict=True) for x, y in zip(i, j, strict=True))


def multi_level(student, teacher, temperatures: list[float], weights: tuple[float, float, float]) -> float:
    total = 0.0
    for temperature in temperatures:
        q, p = ([softmax(z, temperature) for z in rows(x)] for x in (student, teacher))
        total += weights[0] * temperature**2 * mean([kl(a, b) for a, b in zip(p, q, strict=True)])
        total += weights[1] * squares(gram(q), gram(p)) / len(q)
        total += weights[2] * squares(gram(columns(q)), gram(columns(p))) / len(q[0])
    return total


def logit_mse(student, teacher) -> float:
    pairs = zip(rows(student), rows(teacher), strict=True)
    return mean([mean([(a - b) ** 2 for a, b in zip(ours, theirs, strict=True)]) for ours, theirs in pairs])


def teacher_free(student, labels, correct: float, temperature: float) -> float:
    values = []
    for ours, _, y in labelled(student, student, labels):
        rest = (1 - correct) / (len(ours) - 1)
        powers = [(correct if c == y else rest) ** (1 / temperature) for c in range(len(ours))]
        p = [x / sum(powers) for x in powers]
        values.append(temperature**2 * kl(p, softmax(ours, temperature)))
    return mean(values)


def mean_entropy(logits, temperature: float) -> float:
    return mean([-sum(a * math.log(a) for a in softmax(z, temperature) if a > 0) for z in rows(logits)])


def class_balanced(scores, labels, counts: list[int], beta: float) -> float:
    effective = [(1 - beta**count) / (1 - beta) for count in counts]
    total = sum(1 / each for each in effective)
    values = []
    for z, label in zip(rows(scores), labels.tolist(), strict=True):
        if label >= 0:
            values.append(-len(counts) / effective[label] / total * math.log(softmax(z)[label]))
    return mean(values)


def logit_adjusted(scores, labels, counts: list[int], tau: float) -> float:
    values = []
    for z, label in zip(rows(scores), labels.tolist(), strict=True):
        if label >= 0:
            weights = [math.exp(x) * (count / sum(counts)) ** tau for x, count in zip(z, counts, strict=True)]
            values.append(-math.log(weights[label] / sum(weights)))
    return mean(values)
