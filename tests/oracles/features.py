"""Losses of activations as their papers write them: nested lists of Python numbers in loops.

A tensor comes as what ``.tolist()`` gives. Samples are a list; of each, a vector is a list of D, tokens are a list of T
vectors, and a map is a list of C rows of lists.
"""

import math
import statistics
from itertools import product


def flat(x):
    return [value for item in x for value in flat(item)] if isinstance(x, list) else [x]


def place_vectors(sample):
    """The vectors at a sample's places."""
    if not isinstance(sample[0], list):
        return [sample]
    if not isinstance(sample[0][0], list):
        return sample
    return [[channel[i][j] for channel in sample] for i in range(len(sample[0])) for j in range(len(sample[0][0]))]


def hint(student, teacher, places=None):
    """Mean over the places that count; ``places`` holds a list a sample."""
    values = []
    for b, (ours, theirs) in enumerate(zip(student, teacher, strict=True)):
        for at, (s, t) in enumerate(zip(place_vectors(ours), place_vectors(theirs), strict=True)):
            if places is None or flat(places[b])[at]:
                values.append(sum((x - y) ** 2 for x, y in zip(s, t, strict=True)) / len(t))
    return statistics.fmean(values)


def attention_transfer(student, teacher):
    values = []
    for ours, theirs in zip(student, teacher, strict=True):
        u, v = _unit_attention(ours), _unit_attention(theirs)
        values.append(sum((x - y) ** 2 for x, y in zip(u, v, strict=True)) / len(u))
    return statistics.fmean(values)


def _unit_attention(sample):
    attention = [sum(x**2 for x in vector) for vector in place_vectors(sample)]
    norm = math.sqrt(sum(a**2 for a in attention))
    return [a / norm for a in attention]


def channel_margins(teacher):
    """The mean of each channel's negative values."""
    margins = []
    for c in range(len(place_vectors(teacher[0])[0])):
        negative = [v[c] for sample in teacher for v in place_vectors(sample) if v[c] < 0]
        margins.append(statistics.fmean(negative) if negative else 0.0)
    return margins


def partial_error(student, teacher, margins):
    values = []
    for ours, theirs in zip(student, teacher, strict=True):
        for s, t in zip(place_vectors(ours), place_vectors(theirs), strict=True):
            for x, y, margin in zip(s, t, margins, strict=True):
                target = max(y, margin)
                values.append(0.0 if x <= target <= 0 else (x - target) ** 2)
    return statistics.fmean(values)


def gaussian_surprise(mean, teacher, raw_variance):
    variance = [math.log(1 + math.exp(raw)) + 1e-5 for raw in raw_variance]
    values = []
    for ours, theirs in zip(mean, teacher, strict=True):
        for m, t in zip(place_vectors(ours), place_vectors(theirs), strict=True):
            for x, y, v in zip(m, t, variance, strict=True):
                density = math.exp(-((y - x) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v)
                values.append(-math.log(density) - math.log(2 * math.pi) / 2)
    return statistics.fmean(values)


def linear(sample, weight, bias):
    """Vector or tokens, each times the weight."""
    if isinstance(sample[0], list):
        return [linear(vector, weight, bias) for vector in sample]
    return [sum(w * x for w, x in zip(row, sample, strict=True)) + b for row, b in zip(weight, bias, strict=True)]


def convolve(sample, weight, bias):
    """A map (C, H, W) by (E, C, K, K), with zeros around it, so that the size stays."""
    channels, height, width = len(sample), len(sample[0]), len(sample[0][0])
    kernel = len(weight[0][0])
    reach = kernel // 2
    out = [[[b] * width for _ in range(height)] for b in bias]
    for e, i, j in product(range(len(weight)), range(height), range(width)):
        for c, k, m in product(range(channels), range(kernel), range(kernel)):
            y, x = i + k - reach, j + m - reach
            if 0 <= y < height and 0 <= x < width:
                out[e][i][j] += weight[e][c][k][m] * sample[c][y][x]
    return out


def each(function, sample):
    """The function of every number of nested lists."""
    return [each(function, item) for item in sample] if isinstance(sample, list) else function(sample)


def relu(sample):
    return each(lambda x: max(x, 0.0), sample)


def pool(sample, height, width):
    """Mean of what falls on each of height x width places; parts may overlap where sizes do not divide."""
    out = []
    for channel in sample:
        rows, columns = len(channel), len(channel[0])
        out.append([])
        for i in range(height):
            out[-1].append([])
            for j in range(width):
                covered = [
                    channel[y][x]
                    for y in range(i * rows // height, math.ceil((i + 1) * rows / height))
                    for x in range(j * columns // width, math.ceil((j + 1) * columns / width))
                ]
                out[-1][-1].append(statistics.fmean(covered))
    return out


def nearest(sample, height, width):
    """A map enlarged or thinned out: each place takes the one that its upper left corner falls on."""
    return [
        [
            [channel[i * len(channel) // height][j * len(channel[0]) // width] for j in range(width)]
            for i in range(height)
        ]
        for channel in sample
    ]


def hierarchical_context(student, teacher):
    """Of one sample."""
    total, weights, weight = mean_square(student, teacher), 1.0, 1.0
    for size in (4, 2, 1):
        if size < min(len(teacher[0]), len(teacher[0][0])):
            weight /= 2
            total += weight * mean_square(pool(student, size, size), pool(teacher, size, size))
            weights += weight
    return total / weights


def mean_square(a, b):
    return statistics.fmean((x - y) ** 2 for x, y in zip(flat(a), flat(b), strict=True))


def review(stages, teacher, fusions):
    """Sum over stages of one sample's loss. ``fusions``: of each, the (weight, bias) of narrow, attend and widen."""
    total, deeper = 0.0, None
    for stage, target, (narrow, attend, widen) in reversed(list(zip(stages, teacher, fusions, strict=True))):
        fused = convolve(stage, *narrow)
        height, width = len(fused[0]), len(fused[0][0])
        if attend is not None:
            deeper = nearest(deeper, height, width)
            gates = each(lambda x: 1 / (1 + math.exp(-x)), convolve(fused + deeper, *attend))
            for c, i, j in product(range(len(fused)), range(height), range(width)):
                fused[c][i][j] = gates[0][i][j] * fused[c][i][j] + gates[1][i][j] * deeper[c][i][j]
        deeper = nearest(fused, len(target[0]), len(target[0][0]))
        total += hierarchical_context(convolve(deeper, *widen), target)
    return total


def covariance(vectors):
    mean = [statistics.fmean(column) for column in zip(*vectors, strict=True)]
    width = len(mean)
    return mean, [
        [statistics.fmean((v[a] - mean[a]) * (v[b] - mean[b]) for v in vectors) for b in range(width)]
        for a in range(width)
    ]
