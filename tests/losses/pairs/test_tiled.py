"""Losses in tiles against the same losses with the whole matrix."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kdmm.distributed import rank, world_size
from kdmm.errors import InputError
from kdmm.losses import Affinity, Contrastive, GradNorm, InteractiveContrastive, Objective, PCGrad
from kdmm.losses.pairs.tiled import positive_means, tiled_logsumexp
from kdmm.losses.pairs.tiled.online import Online
from tests import two_processes
from tests.losses.data import flags, unit

B, D, E = 11, 5, 6
PAIR = ["image", "text"]
TERMS = {
    "contrastive": lambda tile: Contrastive(PAIR, tile=tile),
    "contrastive, duplicates apart": lambda tile: Contrastive(PAIR, duplicates="negative", tile=tile),
    "sigmoid": lambda tile: Contrastive(PAIR, form="sigmoid", tile=tile),
    "affinity": lambda tile: Affinity(PAIR, tile=tile),
    "affinity, temperatures": lambda tile: Affinity(PAIR, 0.05, 0.1, tile=tile),
    "affinity, pairs": lambda tile: Affinity(PAIR, over="pairs", tile=tile),
    "interactive": lambda tile: InteractiveContrastive(PAIR, tile=tile),
    "interactive, temperature": lambda tile: InteractiveContrastive(PAIR, temperature=0.1, tile=tile),
}
CAPTION_ID = torch.tensor([0, 1, 2, 0, 3, 1, 4, 5, 0, 6, 7])
MODALITIES_PRESENT = {  # images, texts
    "all": ("1" * B, "1" * B),
    "uneven": ("11010110111", "00111110101"),
    "one pair": ("00100000000", "11111111111"),
    "no pair": ("11111000000", "00000111111"),
    "no text": ("1" * B, "0" * B),
    "nothing": ("0" * B, "0" * B),
}
TILES = [1, 3, 4, B, 100]  # 3 and 4 do not divide 11
every_term = pytest.mark.parametrize("name", TERMS)


def given(rows=B, case="all", dtype=torch.float32, here=slice(None), width=D):
    """The student's outputs, which want gradients, the teacher's, and the batch."""
    there = {}
    if rows == B:
        there = {f"present/{m}": flags(f)[here] for m, f in zip(PAIR, MODALITIES_PRESENT[case], strict=True)}
    scalars = {"logit_scale": torch.tensor(20.0), "logit_bias": torch.tensor(-3.0)}
    student = {"image": unit(rows, width, 1)[here], "text": unit(rows, width, 2)[here], **scalars}
    teacher = {"image": unit(rows, E, 3)[here], "text": unit(rows, E, 4)[here], "logit_scale": torch.tensor(30.0)}
    student = {name: x.to(dtype).requires_grad_() for name, x in student.items()}
    batch = {"caption_id": (CAPTION_ID if rows == B else torch.arange(rows) % max(1, rows - 2))[here]}
    return {**student, **there}, {**{name: x.to(dtype) for name, x in teacher.items()}, **there}, batch


def outcome(term, student, teacher, batch):
    """The value and every gradient by name."""
    torch.manual_seed(0)
    if student["image"].shape[1] != teacher["image"].shape[1]:
        term.build(student, teacher, batch)
    wide = torch.promote_types(student["image"].dtype, torch.float32)
    term.to(wide)
    for x in student.values():
        x.grad = None
    value = term(student, teacher, batch)
    value.backward()
    found = {name: x.grad for name, x in student.items() if x.requires_grad and x.grad is not None}
    return {"value": value.detach(), **found, **{name: p.grad for name, p in term.named_parameters()}}


def same(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        assert found[name].dtype is x.dtype
        torch.testing.assert_close(found[name], x, rtol=tolerance, atol=tolerance, msg=lambda t, n=name: f"{n}: {t}")


@every_term
@pytest.mark.parametrize("case", MODALITIES_PRESENT)
@pytest.mark.parametrize("tile", TILES)
def test_value_and_every_gradient_are_those_of_the_whole_matrix(name, case, tile):
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        rows = given(case=case, dtype=dtype)
        expected = outcome(TERMS[name](None), *rows)
        same(outcome(TERMS[name](tile), *rows), expected, tolerance)
        if case in ("all", "uneven"):
            assert expected["value"] > 0.1
            assert expected["image"].abs().max() > 1e-3
        if case in ("no text", "nothing"):
            assert all((x == 0).all() for x in expected.values())


@every_term
@pytest.mark.parametrize("rows", [0, 1, 2, 64, 65, 200])
def test_of_any_number_of_rows(name, rows):
    outputs = given(rows)
    same(outcome(TERMS[name](64), *outputs), outcome(TERMS[name](None), *outputs), 1e-5)


@every_term
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_computes_in_float32_from_half_precision(name, dtype):
    outputs = given(case="uneven", dtype=dtype, width=E)
    expected = outcome(TERMS[name](None), *outputs)
    assert expected["value"].dtype is torch.float32
    # gradients at bfloat16 inputs are rounded to bfloat16; to one step of it they are the same
    for autocast in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            found = outcome(TERMS[name](3), *outputs)  # backward inside autocast too
        torch.testing.assert_close(found["value"], expected["value"], rtol=1e-5, atol=1e-6)
        step = 2 * torch.finfo(dtype).eps
        for output in ("image", "text"):
            torch.testing.assert_close(found[output], expected[output], rtol=step, atol=1e-5)


def test_a_backward_pass_inside_autocast_computes_in_float32():
    first, second = (unit(B, 64, seed, torch.float32).requires_grad_() for seed in (1, 2))
    gradients = []
    for autocast in (False, True):
        value = tiled_logsumexp(first, second, 20.0, 4, both=True)[0].sum()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            gradients.append(torch.autograd.grad(value, (first, second)))
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("scale", [0.0, 100.0, 1e4])
@every_term
def test_far_apart_logits(name, scale):
    student, teacher, batch = given(dtype=torch.float64)
    student["logit_scale"] = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    teacher["logit_scale"] = torch.tensor(scale, dtype=torch.float64)
    expected = outcome(TERMS[name](None), student, teacher, batch)
    # PyTorch's softplus is linear from 20 on, which its gradient shows
    same(outcome(TERMS[name](3), student, teacher, batch), expected, 1e-8)
    low = {n: x.detach().float().requires_grad_() if x.is_floating_point() else x for n, x in student.items()}
    found = outcome(
        TERMS[name](3), low, {n: x.float() if x.is_floating_point() else x for n, x in teacher.items()}, batch
    )
    assert all(x.isfinite().all() for x in found.values())


@pytest.mark.parametrize("case", ["all", "uneven"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_affinity_is_exactly_zero_when_the_student_agrees(case, dtype):
    _, teacher, batch = given(case=case, dtype=dtype)
    assert Affinity(PAIR, tile=3)(teacher, teacher, batch) == 0


@pytest.mark.parametrize("strategy", [GradNorm, PCGrad])
def test_weightings_that_look_at_gradients_at_the_outputs_see_the_same(strategy):
    found = []
    for tile in (None, 3):
        terms = {"hard": TERMS["contrastive"](tile), "soft": TERMS["affinity"](tile), "sig": TERMS["sigmoid"](tile)}
        objective = Objective(terms, strategy())
        first, second = (torch.randn(B, D, generator=torch.Generator().manual_seed(s)).requires_grad_() for s in (5, 6))
        totals = []
        for _ in range(3):
            student, teacher, batch = given(dtype=torch.float32)
            student |= {"image": F.normalize(first, dim=1), "text": F.normalize(second, dim=1)}
            total, _ = objective(student, teacher, batch)
            gradients = torch.autograd.grad(total, (first, second))
            totals.append(total.detach())
        found.append((torch.stack(totals), *gradients, torch.tensor(list(objective.weights().values()))))
    for tiled, plain in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(tiled, plain, rtol=1e-5, atol=1e-5)


@every_term
def test_a_second_derivative_is_refused_with_a_reason(name):
    student, teacher, batch = given(width=E)
    value = TERMS[name](3)(student, teacher, batch)
    with pytest.raises(InputError, match=r"no second derivative.*Set the term's `tile` to null"):
        torch.autograd.grad(value, student["image"], create_graph=True)


@every_term
def test_only_what_wants_a_gradient_gets_one(name):
    for frozen in PAIR:
        student, teacher, batch = given(width=E)
        expected = outcome(TERMS[name](None), student, teacher, batch)
        student[frozen] = student[frozen].detach()
        found = outcome(TERMS[name](3), student, teacher, batch)
        same(found, {key: x for key, x in expected.items() if key != frozen}, 1e-5)


class Largest(TorchDispatchMode):
    """Notes the most elements of a tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        sizes = [
            x.untyped_storage().nbytes() // x.element_size() for x in tree_leaves(made) if isinstance(x, torch.Tensor)
        ]
        self.elements = max([self.elements, *sizes])
        return made


def saved_bytes(term, outputs):
    """The bytes that wait for the backward pass, each storage once, and the most elements of a tensor that is made."""
    kept = {}

    def pack(x):
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with Largest() as largest:
        with saved_tensors_hooks(pack, lambda x: x):
            value = term(*outputs)
        total = sum(kept.values())
        value.backward()
    return total, largest.elements


@every_term
def test_memory_grows_with_the_batch_and_not_with_its_square(name):
    found = {}
    for rows in (256, 512):
        outputs = given(rows, width=E)
        for tile in (None, 64):
            found[rows, tile] = saved_bytes(TERMS[name](tile), outputs)
    saved, largest = (found[512, 64][n] / found[256, 64][n] for n in (0, 1))
    assert saved < 2.05
    assert largest < 2.05
    assert found[512, 64][1] <= 512 * 2 * E  # no tensor is larger than the rows of embeddings, nor any tile here
    assert found[512, None][1] >= 512 * 512
    assert found[512, None][0] > 3 * found[256, None][0]


def test_online_softmax_is_that_of_the_whole_row():
    logits, values = (50 * torch.randn(4, 9, dtype=torch.float64) for _ in range(2))
    online = Online(4, logits)
    for columns in (slice(0, 2), slice(2, 7), slice(7, 9)):
        online.add(slice(1, 3), logits[1:3, columns], values[1:3, columns])
        online.add(slice(0, 1), logits[:1, columns], values[:1, columns])
        online.add(slice(3, 4), logits[3:, columns], values[3:, columns])
    torch.testing.assert_close(online.logsumexp(), logits.logsumexp(1), rtol=1e-14, atol=0)
    torch.testing.assert_close(online.mean(), (logits.softmax(1) * values).sum(1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("columns", [0, 1, 7])
def test_logsumexp_of_any_gradient(both, columns):
    first, second = unit(B, D, 1).requires_grad_(), unit(columns, D, 2).requires_grad_()
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)

    def function(*inputs):
        found = tiled_logsumexp(*inputs, 4, both)
        return found if both and columns else found[0] if columns else found[0].exp()

    logits = 3 * first @ second.T
    torch.testing.assert_close(tiled_logsumexp(first, second, scale, 4)[0], logits.logsumexp(1))
    assert torch.autograd.gradcheck(function, (first, second, scale))


@pytest.mark.parametrize("labels", [None, CAPTION_ID, torch.zeros(B, dtype=torch.long)])
def test_mean_of_positives_is_that_of_the_loop(labels):
    vectors = unit(B, D, 1)
    groups = list(range(B)) if labels is None else labels.tolist()
    expected = [vectors[[j for j in range(B) if groups[j] == group]].mean(0) for group in groups]
    torch.testing.assert_close(positive_means(vectors, labels, (B,)), torch.stack(expected), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("kind", [Contrastive, Affinity, InteractiveContrastive])
@pytest.mark.parametrize("tile", [0, -3])
def test_a_tile_has_rows(kind, tile):
    with pytest.raises(InputError, match=rf"{kind.__name__}: tile is {tile}\. Give 1 or more.*null"):
        kind(PAIR, tile=tile)


FIRST_OF_RANK_1 = 8  # rank 0 has 8 samples, rank 1 has 3
RANKS = {
    **{case: MODALITIES_PRESENT[case] for case in ("uneven", "one pair", "nothing")},
    "rank 1 without text": ("1" * B, "11011111000"),
    "rank 0 without images": ("00000000111", "1" * B),
    "rank 1 with nothing": ("11111111000", "11011011000"),
}


def each_rank(tile):
    parts = [slice(0, FIRST_OF_RANK_1), slice(FIRST_OF_RANK_1, B)]
    here = parts[rank()] if world_size() > 1 else slice(None)
    results = {}
    for name, build in TERMS.items():
        for case, present in RANKS.items():
            student, teacher, batch = given(dtype=torch.float64, here=here)
            there = {f"present/{m}": flags(f)[here] for m, f in zip(PAIR, present, strict=True)}
            for m in PAIR:  # a rank without any sample of a modality may have a constant, as models give it
                if world_size() > 1 and not there[f"present/{m}"].any():
                    student[m] = torch.zeros_like(student[m])
            found = outcome(build(tile), {**student, **there}, {**teacher, **there}, batch)
            for m in PAIR:
                found.setdefault(m, torch.zeros_like(student[m]))
            results[f"{name} | {case}"] = found
    return results


def on_each_rank():
    return each_rank(3)


def test_two_processes_are_one(tmp_path):
    ranks, alone = two_processes.run(on_each_rank, tmp_path), each_rank(None)
    for key, expected in alone.items():
        first, second = (each[key] for each in ranks)
        assert first.keys() == second.keys() == expected.keys()
        for name, x in expected.items():
            both = torch.cat([first[name], second[name]]) if name in PAIR else first[name] + second[name]
            torch.testing.assert_close(
                both / 2, x, rtol=1e-10, atol=1e-12, msg=lambda t, n=name, k=key: f"{k}, {n}: {t}"
            )
