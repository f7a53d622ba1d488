"""Tokens."""

import math

import torch

from kdmm.losses import AttentionMaps, HiddenStates, SequenceCrossEntropy, TokenKL
from kdmm.losses.adapters import Width
from tests.losses.conformance import Case
from tests.losses.data import flags, rotation
from tests.oracles import sequences as oracle

B, T, V, D, E, HEADS = 7, 4, 5, 3, 4, 2


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def texts(*lines):
    return torch.stack([flags(line) for line in lines])


# the sequence of row 5 is all padding
OURS = texts("1111", "1110", "1100", "0111", "1111", "0000", "1011")
THEIRS = texts("1111", "1100", "1110", "1111", "0111", "1111", "1111")
BOTH = OURS & THEIRS
IGNORED = -100
LABELS = torch.where(
    texts("1111", "0111", "1111", "1101", "1111", "1111", "1110"), (normal(B, T, seed=9) * 9).long() % V, IGNORED
)
LABELS_OF_7 = torch.where(LABELS == IGNORED, 7, LABELS)
BATCH = {"labels": LABELS}

STUDENT = {"logits": 2 * normal(B, T, V, seed=1), "valid/logits": OURS}
TEACHER = {"logits": 2 * normal(B, T, V, seed=2), "valid/logits": THEIRS}
STATES = {"layer.1": normal(B, T, D, seed=1), "layer.2": normal(B, T, D, seed=2), "valid/layer.1": OURS}
TARGETS = {"h.3": normal(B, T, D, seed=3), "h.6": normal(B, T, D, seed=4), "valid/h.3": THEIRS, "valid/h.6": THEIRS}
WIDE = {"h.3": normal(B, T, E, seed=3), "h.6": normal(B, T, E, seed=4), "valid/h.3": THEIRS, "valid/h.6": THEIRS}
PAIRS = {"layer.1": "h.3", "layer.2": "h.6"}
VALID = {"layer.1": BOTH, "layer.2": THEIRS}  # layer.2 says nothing: all its tokens count

CAUSAL = torch.ones(T, T, dtype=torch.bool).tril()
OUR_ATTENTION = {"layer.1": 3 * normal(B, HEADS, T, T, seed=5), "valid/layer.1": OURS}
THEIR_ATTENTION = {"h.3": 3 * normal(B, HEADS, T, T, seed=6), "valid/h.3": THEIRS}
ORDER = torch.tensor([3, 0, 5, 1, 6, 4, 2])


def reordered(student, teacher, batch):
    return tuple({k: x[ORDER] for k, x in each.items()} for each in (student, teacher, batch))


def shifted(student, teacher, batch):
    return {**student, "logits": student["logits"] + normal(B, T, 1, seed=7)}, teacher, batch


def junk_in_padding(student, teacher, batch):
    """What stands at places that do not count."""
    both = []
    for outputs in (student, teacher):
        changed = dict(outputs)
        for name, x in outputs.items():
            flag = outputs.get(f"valid/{name}")
            if flag is not None:
                pairs = (flag[:, :, None] & flag[:, None, :])[:, None]  # of queries and keys, for attention
                changed[name] = torch.where(pairs if x.ndim == 4 else flag[:, :, None], x, math.nan)
        both.append(changed)
    return *both, batch


def padded(student, teacher, batch):
    """Three more places of padding on the left."""

    def longer(outputs):
        return {
            k: torch.nn.functional.pad(x, (3, 0) if x.ndim == 2 else (0, 0, 3, 0), value=0 if x.ndim == 2 else math.inf)
            for k, x in outputs.items()
        }

    return longer(student), longer(teacher), longer(batch)


def same(student, teacher, batch):
    return {**student, "logits": teacher["logits"] + 1}, teacher, batch


def predicted(smoothing):
    def agrees(student, teacher, batch):
        at = torch.nn.functional.one_hot(LABELS.clamp(min=0), V)
        return (
            {**student, "logits": ((1 - smoothing) * at + smoothing / V).double().clamp(min=1e-40).log()},
            teacher,
            batch,
        )

    return agrees


def same_states(student, teacher, batch):
    return {**student, **{ours: teacher[theirs] for ours, theirs in PAIRS.items() if ours in student}}, teacher, batch


def turned(student, teacher, batch):
    turn = rotation(D, 9)
    return *({k: x @ turn if x.ndim == 3 else x for k, x in each.items()} for each in (student, teacher)), batch


def longer_states(student, teacher, batch):
    return {k: 3 * x if x.ndim == 3 else x for k, x in student.items()}, teacher, batch


def turned_heads(student, teacher, batch):
    return *({k: x.flip(1) if x.ndim == 4 else x for k, x in each.items()} for each in (student, teacher)), batch


def transposed(student, teacher, batch):
    return *({k: x.mT if x.ndim == 4 else x for k, x in each.items()} for each in (student, teacher)), batch


TOKENS = {"order of samples": reordered, "padding's content": junk_in_padding, "more padding": padded}
STATE = {"order of samples": reordered, "padding's content": junk_in_padding}
SMOOTHED = -(0.84 * math.log(0.84) + 4 * 0.04 * math.log(0.04))  # entropy of the target at smoothing 0.2


def states_oracle(distance):
    def value(term, student, teacher, batch):
        total = 0.0
        for adapter, (ours, theirs) in zip(term.adapters, PAIRS.items(), strict=True):
            x = student[ours]
            if adapter.map is not None:
                x = x @ adapter.map.weight.T + adapter.map.bias
            total += oracle.hidden_states(x, teacher[theirs], VALID[ours], distance)
        return total

    return value


def attention_oracle(term, student, teacher, batch):
    return oracle.attention_maps(student["layer.1"], teacher["h.3"], BOTH)


CASES = [
    Case(
        "TokenKL",
        TokenKL,
        {},
        STUDENT,
        TEACHER,
        lambda term, s, t, b: oracle.token_kl(s["logits"], t["logits"], BOTH, 1.0),
        agrees=same,
        invariances={**TOKENS, "shift": shifted},
        absent=("logits",),
    ),
    Case(
        "TokenKL, label and temperature set",
        TokenKL,
        {"label": "labels", "temperature": 2},
        STUDENT,
        TEACHER,
        lambda term, s, t, b: oracle.token_kl(s["logits"], t["logits"], BOTH & (LABELS != IGNORED), 2.0),
        BATCH,
        agrees=same,
        invariances={"order of samples": reordered, "padding's content": junk_in_padding, "shift": shifted},
        absent=("logits",),
    ),
    Case(
        "TokenKL, divergence=reverse",
        TokenKL,
        {"divergence": "reverse", "label": "labels", "ignore_index": 7},
        STUDENT,
        TEACHER,
        lambda term, s, t, b: oracle.token_kl(s["logits"], t["logits"], BOTH & (LABELS_OF_7 != 7), 1.0, "reverse"),
        {"labels": LABELS_OF_7},
        agrees=same,
        invariances={"order of samples": reordered, "padding's content": junk_in_padding, "shift": shifted},
        absent=("logits",),
    ),
    Case(
        "TokenKL, label=student.tokens",
        TokenKL,
        {"label": "student.tokens"},
        {**STUDENT, "tokens": LABELS},
        TEACHER,
        lambda term, s, t, b: oracle.token_kl(s["logits"], t["logits"], BOTH & (LABELS != IGNORED), 1.0),
        agrees=same,
        invariances={"order of samples": reordered, "padding's content": junk_in_padding, "shift": shifted},
        absent=("logits",),
    ),
    Case(
        "TokenKL, divergence=jensen_shannon",
        TokenKL,
        {"divergence": "jensen_shannon"},
        STUDENT,
        TEACHER,
        lambda term, s, t, b: oracle.token_kl(s["logits"], t["logits"], BOTH, 1.0, "jensen_shannon"),
        agrees=same,
        invariances={**TOKENS, "shift": shifted},
        absent=("logits",),
    ),
    Case(
        "SequenceCrossEntropy",
        SequenceCrossEntropy,
        {},
        STUDENT,
        {},
        lambda term, s, t, b: oracle.cross_entropy(s["logits"], LABELS, OURS & (LABELS != IGNORED), 0.0),
        BATCH,
        agrees=predicted(0.0),
        invariances={"order of samples": reordered, "padding's content": junk_in_padding, "shift": shifted},
        absent=("logits",),
    ),
    Case(
        "SequenceCrossEntropy, label=student.tokens",
        SequenceCrossEntropy,
        {"label": "student.tokens"},
        {**STUDENT, "tokens": LABELS},
        {},
        lambda term, s, t, b: oracle.cross_entropy(s["logits"], LABELS, OURS & (LABELS != IGNORED), 0.0),
        agrees=predicted(0.0),
        invariances={"order of samples": reordered, "padding's content": junk_in_padding, "shift": shifted},
        absent=("logits",),
    ),
    Case(
        "SequenceCrossEntropy, smoothing=0.2",
        SequenceCrossEntropy,
        {"smoothing": 0.2, "ignore_index": 7},
        STUDENT,
        {},
        lambda term, s, t, b: oracle.cross_entropy(s["logits"], LABELS_OF_7, OURS & (LABELS_OF_7 != 7), 0.2),
        {"labels": LABELS_OF_7},
        agrees=predicted(0.2),
        least=SMOOTHED,
        invariances={"order of samples": reordered, "padding's content": junk_in_padding, "shift": shifted},
        absent=("logits",),
    ),
    Case(
        "HiddenStates",
        HiddenStates,
        {"layers": PAIRS},
        STATES,
        TARGETS,
        states_oracle("mse"),
        agrees=same_states,
        invariances={**STATE, "rotation of both": turned},
        absent=("layer.1", "layer.2", "h.3", "h.6"),
    ),
    Case(
        "HiddenStates, distance=cosine",
        HiddenStates,
        {"layers": PAIRS, "distance": "cosine"},
        STATES,
        TARGETS,
        states_oracle("cosine"),
        agrees=same_states,
        invariances={**STATE, "rotation of both": turned, "length": longer_states},
        absent=("layer.1", "layer.2", "h.3", "h.6"),
    ),
    Case(
        "HiddenStates, widths differ",
        HiddenStates,
        {"layers": PAIRS, "adapters": {"layer.2": Width()}},
        STATES,
        WIDE,
        states_oracle("mse"),
        invariances=STATE,
        absent=("layer.1", "layer.2", "h.3", "h.6"),
        exempt={"agreement": "the maps between the widths are learned"},
    ),
    Case(
        "AttentionMaps",
        AttentionMaps,
        {"layers": {"layer.1": "h.3"}},
        OUR_ATTENTION,
        THEIR_ATTENTION,
        attention_oracle,
        agrees=same_states,
        invariances={**STATE, "order of heads": turned_heads, "exchange of queries and keys": transposed},
        absent=("layer.1", "h.3"),
    ),
    Case(
        "AttentionMaps, heads differ",
        AttentionMaps,
        {"layers": {"layer.1": "h.3"}},
        OUR_ATTENTION,
        {"h.3": normal(B, 3, T, T, seed=6), "valid/h.3": THEIRS},
        attention_oracle,
        agrees=lambda s, t, b: ({**s, "layer.1": t["h.3"].mean(1, keepdim=True).expand(-1, HEADS, -1, -1)}, t, b),
        invariances={**STATE, "order of heads": turned_heads},
        absent=("layer.1", "h.3"),
    ),
]
