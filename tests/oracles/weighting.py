"""Weighting strategies as their papers write them: Python numbers in loops, vectors as lists."""

import math


def dynamic_weights(newer, older, temperature):
    powers = [math.exp(new / old / temperature) for new, old in zip(newer, older, strict=True)]
    return [len(newer) * power / sum(powers) for power in powers]


def gradnorm_loss(weights, norms, rates, alpha, constants=None):
    """The paper's loss of the weights, over the mean norm; its targets and divisor are of `constants`' weights."""
    fixed = weights if constants is None else constants
    mean_norm = sum(w * n for w, n in zip(fixed, norms, strict=True)) / len(norms)
    mean_rate = sum(rates) / len(rates)
    return sum(
        abs(w * n - mean_norm * (rate / mean_rate) ** alpha) / mean_norm
        for w, n, rate in zip(weights, norms, rates, strict=True)
    )


def pcgrad(gradients, orders):
    """Algorithm 1 on the vectors themselves: the projected gradient of each term."""
    projected = []
    for i, order in enumerate(orders):
        g = list(gradients[i])
        for j in order:
            if j != i:
                product = dot(g, gradients[j])
                if product < 0:
                    share = product / dot(gradients[j], gradients[j])
                    g = [a - share * b for a, b in zip(g, gradients[j], strict=True)]
        projected.append(g)
    return projected


def confident_mean(values, logits, temperature, labels=None):
    """The weighted mean of the values, of samples in turn."""
    above = below = 0.0
    for i, (value, row) in enumerate(zip(values, logits, strict=True)):
        powers = [math.exp(float(z) / temperature) for z in row]
        p = [power / sum(powers) for power in powers]
        if labels is None:
            sure = 1 + sum(q * math.log(q) for q in p) / math.log(len(p))
        elif labels[i] < 0:
            continue
        else:
            sure = p[int(labels[i])]
        above += sure * float(value)
        below += sure
    return above / below


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))
