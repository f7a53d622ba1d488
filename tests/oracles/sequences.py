"""Losses on tokens as their papers write them: Python numbers in loops."""

import math

from tests.oracles.logits import divergence, mean, rows, smoothed_cross_entropy


def token_kl(student, teacher, valid, temperature: float, kind: str = "forward") -> float:
    values = []
    for b in range(len(valid)):
        for t, (ours, theirs) in enumerate(zip(rows(student[b]), rows(teacher[b]), strict=True)):
            if valid[b][t]:
                values.append(divergence(ours, theirs, kind, temperature))
    return mean(values)


def cross_entropy(scores, labels, valid, smoothing: float) -> float:
    values = []
    for b in range(len(valid)):
        for t, row in enumerate(rows(scores[b])):
            if valid[b][t]:
                values.append(smoothed_cross_entropy(row, int(labels[b][t]), smoothing))
    return mean(values)


def hidden_states(student, teacher, valid, distance: str) -> float:
    values = []
    for b in range(len(valid)):
        for t, (u, v) in enumerate(zip(rows(student[b]), rows(teacher[b]), strict=True)):
            if valid[b][t]:
                if distance == "mse":
                    values.append(mean([(x - y) ** 2 for x, y in zip(u, v, strict=True)]))
                else:
                    dot = sum(x * y for x, y in zip(u, v, strict=True))
                    values.append(1 - dot / math.sqrt(sum(x * x for x in u) * sum(y * y for y in v)))
    return mean(values)


def attention_maps(student, teacher, valid, keys=None) -> float:
    """Attention (B, heads, T, S), to the tokens themselves where there are no `keys`; -inf masks."""
    values = []
    heads = len(student[0]), len(teacher[0])
    for b in range(len(valid)):
        places = [t for t in range(len(valid[b])) if valid[b][t]]
        for i in places:
            for j in places if keys is None else [s for s in range(len(keys[b])) if keys[b][s]]:
                ours = [float(student[b][h][i][j]) for h in range(heads[0])]
                theirs = [float(teacher[b][h][i][j]) for h in range(heads[1])]
                if any(x == -math.inf for x in ours + theirs):
                    continue
                if heads[0] != heads[1]:
                    ours, theirs = [mean(ours)], [mean(theirs)]
                values.append(mean([(x - y) ** 2 for x, y in zip(ours, theirs, strict=True)]))
    return mean(values)
