"""Losses of maps as their papers write them: nested lists of Python numbers in loops; see `tests.oracles.features`."""

import math
import statistics
from itertools import product

from tests.oracles.features import flat, place_vectors


def softmax(z):
    top = max(z)
    weights = [math.exp(x - top) for x in z]
    return [w / sum(weights) for w in weights]


def divergence(p, q):
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True) if a > 0)


def channel_divergence(student, teacher, temperature, places=None):
    values = []
    for b, (ours, theirs) in enumerate(zip(student, teacher, strict=True)):
        for s, t in zip(ours, theirs, strict=True):
            s, t = flat(s), flat(t)
            if places is not None:
                s, t = ([x for x, keep in zip(z, flat(places[b]), strict=True) if keep] for z in (s, t))
            p, q = (softmax([x / temperature for x in z]) for z in (t, s))
            values.append(temperature**2 * divergence(p, q))
    return statistics.fmean(values)


def pixel_divergence(student, teacher, temperature, counts):
    """``counts``: a list of booleans a sample."""
    values = []
    for ours, theirs, keep in zip(student, teacher, counts, strict=True):
        for s, t, counted in zip(place_vectors(ours), place_vectors(theirs), flat(keep), strict=True):
            if counted:
                p, q = (softmax([x / temperature for x in z]) for z in (t, s))
                values.append(temperature**2 * divergence(p, q))
    return statistics.fmean(values)


def pixel_cross_entropy(student, labels, smoothing):
    """``labels``: rows of class numbers a sample, 255 for none."""
    values = []
    for ours, wanted in zip(student, labels, strict=True):
        for s, label in zip(place_vectors(ours), flat(wanted), strict=True):
            if label != 255:
                p = softmax(s)
                target = [smoothing / len(p) + (1 - smoothing) * (c == label) for c in range(len(p))]
                values.append(-sum(t * math.log(q) for t, q in zip(target, p, strict=True) if t > 0))
    return statistics.fmean(values)


def pooled(sample, rows, columns):
    """Means of the regions into which adaptive pooling cuts a map; those of a size that does not divide overlap."""

    def region(place, count, size):
        return range(place * size // count, -(-(place + 1) * size // count))

    return [
        [
            [
                statistics.fmean(
                    channel[y][x] for y in region(i, rows, len(channel)) for x in region(j, columns, len(channel[0]))
                )
                for j in range(columns)
            ]
            for i in range(rows)
        ]
        for channel in sample
    ]


def pairwise_difference(student, teacher, grid, counts):
    """``counts``: of each sample, booleans of the teacher's places; where it is false the maps are zero."""
    values = []
    for ours, theirs, keep in zip(student, teacher, counts, strict=True):
        nodes = [place_vectors(pooled(sample, *grid)) for sample in (ours, theirs)]
        there = [i for i, (share,) in enumerate(place_vectors(pooled([keep], *grid))) if share > 0]
        cosines = [[cosine(vectors[i], vectors[j]) for i in there for j in there] for vectors in nodes]
        values.append(statistics.fmean((a - b) ** 2 for a, b in zip(*cosines, strict=True)))
    return statistics.fmean(values)


def cosine(a, b):
    return dot(a, b) / (math.hypot(*a) * math.hypot(*b))


def correlation_loss(student, teacher):
    values = []
    for c in range(len(student[0])):
        s, t = ([x for sample in samples for x in flat(sample[c])] for samples in (student, teacher))
        values.append(1 - statistics.correlation(s, t))
    return statistics.fmean(values)


def box_weights(boxes, image_size, height, width):
    """Foreground and background weights of one image, each place looked at by itself."""
    scale_y, scale_x = height / image_size[0], width / image_size[1]
    covers = []
    for x1, y1, x2, y2 in boxes:
        rows = [i for i in range(height) if i < y2 * scale_y and i + 1 > y1 * scale_y]
        columns = [j for j in range(width) if j < x2 * scale_x and j + 1 > x1 * scale_x]
        covers.append({(i, j) for i in rows for j in columns})
    inside = [[0.0] * width for _ in range(height)]
    outside = [[0.0] * width for _ in range(height)]
    free = [at for at in product(range(height), range(width)) if not any(at in cover for cover in covers)]
    for i, j in product(range(height), range(width)):
        areas = [len(cover) for cover in covers if (i, j) in cover]
        if areas:
            inside[i][j] = 1 / min(areas)
        else:
            outside[i][j] = 1 / len(free)
    return inside, outside


def attentions(sample, temperature):
    places = [statistics.fmean(abs(x) for x in vector) / temperature for vector in place_vectors(sample)]
    channels = [statistics.fmean(abs(x) for x in flat(channel)) / temperature for channel in sample]
    return [[len(z) * p for p in softmax(z)] for z in (places, channels)]


def fgd(student, teacher, boxes, image_size, contexts, settings):
    """Of one sample. ``contexts``: the parameters of the student's block and of the teacher's, as lists."""
    height, width = len(teacher[0]), len(teacher[0][0])
    inside, outside = box_weights(boxes, image_size, height, width)
    places, channels = attentions(teacher, settings["temperature"])
    focal = 0.0
    for c, i, j in product(range(len(teacher)), range(height), range(width)):
        weight = settings["foreground"] * inside[i][j] + settings["background"] * outside[i][j]
        focal += weight * places[i * width + j] * channels[c] * (student[c][i][j] - teacher[c][i][j]) ** 2
    gap = 0.0
    for ours, theirs in zip(attentions(student, settings["temperature"]), (places, channels), strict=True):
        gap += sum(abs(x - y) for x, y in zip(ours, theirs, strict=True))
    first, second = global_context(student, *contexts[0]), global_context(teacher, *contexts[1])
    relation = sum((x - y) ** 2 for x, y in zip(flat(first), flat(second), strict=True))
    return focal + settings["attention"] * gap + settings["relation"] * relation


def global_context(sample, attend, narrow, norm, widen):
    vectors = place_vectors(sample)
    weights = softmax([dot(attend[0][0], v) + attend[1][0] for v in vectors])
    context = [sum(w * v[c] for w, v in zip(weights, vectors, strict=True)) for c in range(len(sample))]
    hidden = [dot(row, context) + b for row, b in zip(*narrow, strict=True)]
    mean = statistics.fmean(hidden)
    deviation = math.sqrt(statistics.fmean((h - mean) ** 2 for h in hidden) + 1e-5)
    hidden = [max(0.0, (h - mean) / deviation * g + b) for h, g, b in zip(hidden, *norm, strict=True)]
    added = [dot(row, hidden) + b for row, b in zip(*widen, strict=True)]
    return [[[x + a for x in row] for row in channel] for channel, a in zip(sample, added, strict=True)]


def dot(a, b):
    return sum(x * y for x, y in zip(flat(a), b, strict=True))


def bilinear(sample, height, width):
    """A map interpolated between the centres of its places, which stay where they are in the picture."""
    return [
        [[_between(channel, (i + 0.5) / height, (j + 0.5) / width) for j in range(width)] for i in range(height)]
        for channel in sample
    ]


def _between(channel, down, across):
    rows, columns = len(channel), len(channel[0])
    y, x = max(down * rows - 0.5, 0.0), max(across * columns - 0.5, 0.0)
    i, j = int(y), int(x)
    below, beside = min(i + 1, rows - 1), min(j + 1, columns - 1)
    upper = channel[i][j] * (1 - x + j) + channel[i][beside] * (x - j)
    lower = channel[below][j] * (1 - x + j) + channel[below][beside] * (x - j)
    return upper * (1 - y + i) + lower * (y - i)


def area(box):
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def shared_area(a, b):
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def iou(a, b):
    union = area(a) + area(b) - shared_area(a, b)
    return shared_area(a, b) / union if union else 0.0


def giou(a, b):
    hull = area((min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])))
    union = area(a) + area(b) - shared_area(a, b)
    return iou(a, b) - (hull - union) / hull


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def matched_anchor(anchor, anchors):
    """The number of the anchor with the highest overlap, None if none overlaps."""
    overlaps = [iou(anchor, each) for each in anchors]
    best = max(range(len(anchors)), key=overlaps.__getitem__)
    return best if overlaps[best] > 0 else None


def anchor_kd(student, teacher, box_weight):
    """``student`` and ``teacher``: a sample's logits, boxes (or None) and anchors (or None) in each list."""
    total, mass = 0.0, 0.0
    for (logits, boxes, anchors), (their_logits, their_boxes, their_anchors) in zip(student, teacher, strict=True):
        for i, ours in enumerate(logits):
            j = i if anchors is None else matched_anchor(anchors[i], their_anchors)
            if j is None:
                continue
            p = [sigmoid(x) for x in ours]
            q = [sigmoid(x) for x in their_logits[j]]
            apart = [abs(a - b) for a, b in zip(p, q, strict=True)]
            for a, b, gap in zip(p, q, apart, strict=True):
                total -= gap * (b * math.log(a) + (1 - b) * math.log(1 - a))
            if boxes is not None:
                total += box_weight * max(apart) * (1 - giou(boxes[i], their_boxes[j]))
            mass += max(q)
    return total / max(mass, 1.0)
