import math
import re

import pytest
import torch

from kdmm.errors import InputError
from kdmm.teachers.cache.format import merged
from kdmm.teachers.cache.formats import parse_format


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def again(name, x):
    form = parse_format(name)
    assert form.name == name
    return form.decode(form.encode(x))


@pytest.mark.parametrize(("name", "bits"), [("float32", 24), ("float16", 11), ("bfloat16", 8)])
def test_a_rounded_number_is_off_by_half_its_last_bit_at_most(name, bits):
    x = random(50, 7)
    found = again(name, x)
    assert found.dtype == torch.float32
    assert ((found - x).abs() <= x.abs() * 2.0**-bits + 2.0**-25).all()  # below that float16 has fewer bits


@pytest.mark.parametrize("shape", [(6, 9), (4, 5, 9), (3, 4, 5, 6)])
def test_int8_is_off_by_half_a_step_of_its_vector_at_most(shape):
    x = random(*shape) * torch.logspace(-3, 3, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    x[0] = 0
    kept = parse_format("int8").encode(x)
    assert kept[""].dtype == torch.int8
    inside = tuple(range(1 if len(shape) == 2 else 2, len(shape)))
    step = x.abs().amax(inside, keepdim=True) / 127
    assert torch.equal(kept[".scale"], step)
    assert ((again("int8", x) - x).abs() <= step * 0.5001).all()
    assert again("int8", x)[0].abs().max() == 0


def loops(row, k, temperature):
    """The row's probabilities at a temperature: of the k largest their own, of each other the mean of all others."""
    order = sorted(range(len(row)), key=lambda c: -row[c])
    p = [math.exp(z / temperature) for z in row]
    p = [each / sum(p) for each in p]
    tail = sum(p[c] for c in order[k:]) / (len(row) - k)
    return [p[c] if c in order[:k] else tail for c in range(len(row))]


@pytest.mark.parametrize(("name", "temperature"), [("top3", 1.0), ("top3@4", 4.0)])
def test_the_likeliest_classes_and_the_mass_of_the_others_are_exact(name, temperature):
    x = 3 * random(5, 11)
    found = again(name, x)
    for row, expected in zip(found.tolist(), x.tolist(), strict=True):
        p = [math.exp(z / temperature) for z in row]
        assert [each / sum(p) for each in p] == pytest.approx(loops(expected, 3, temperature), rel=1e-5)
    best = x.topk(3).indices
    assert torch.equal(found.gather(1, best), x.gather(1, best))


def test_logits_of_places_are_kept_place_by_place():
    tokens, pixels = random(2, 4, 9), random(2, 9, 3, 4)
    for x, rows in ((tokens, tokens.reshape(-1, 9)), (pixels, pixels.movedim(1, -1).reshape(-1, 9))):
        found = again("top2", x)
        assert found.shape == x.shape
        flat = found.movedim(1, -1).reshape(-1, 9) if x.ndim == 4 else found.reshape(-1, 9)
        torch.testing.assert_close(flat, again("top2", rows))


def test_a_tail_that_is_ruled_out_stays_so():
    x = torch.tensor([[2.0, 1.0, -math.inf, -math.inf]])
    assert again("top2", x).tolist() == x.tolist()


@pytest.mark.parametrize(
    ("name", "numbers", "refused"),
    [
        ("float16", [1.0, -1e5], "numbers beyond 65504, which float16 cannot hold. Take bfloat16 or float32."),
        ("float16", [1.0, 1e5], "beyond 65504"),
        ("float16", [1.0, -math.inf], None),
        ("bfloat16", [1.0, -1e5], None),
        ("bfloat16", [1.0, 3.4e38], "numbers beyond 3.38953e[+]38, which bfloat16 cannot hold. Take float32."),
        ("float32", [math.inf, math.nan], None),
        ("int8", [-1e5, -1e5], None),
        ("int8", [1.0, -math.inf], "not finite, which int8 cannot hold. Take bfloat16 or float32."),
        ("int8", [math.inf, math.inf], "not finite"),
        ("int8", [1.0, math.nan], "not finite"),
        ("top1", [1.0, -math.inf], None),
        ("top1", [-math.inf, -math.inf], None),
    ],
)
def test_what_a_format_cannot_hold_is_seen(name, numbers, refused):
    x, form = torch.tensor([[0.5, 0.5], numbers]), parse_format(name)
    found = form.decode(form.encode(x))
    assert bool(form.is_unheld(x, found)) == (refused is not None)
    if refused is None:
        torch.testing.assert_close(found[:, :2], x, rtol=0.01, atol=0.1, equal_nan=True)
    else:
        assert re.search(refused, form.unheld)


def test_infinite_numbers_that_are_kept_leave_the_cosine_of_the_others():
    x = torch.tensor([[3.0, 4.0, -math.inf], [-math.inf, 0.0, 1.0]])
    lost = parse_format("float16").losses(x, torch.tensor([[4.0, 3.0, -math.inf], [-math.inf, 0.0, 1.0]]))
    assert {name: float(value) for name, value in lost.items()} == pytest.approx(
        {"difference_max": 1.0, "cosine_min": 24 / 25, "cosine_mean": 49 / 50}
    )


def test_what_is_lost_is_measured():
    x = random(40, 6)
    form = parse_format("int8")
    found = form.decode(form.encode(x))
    lost = form.losses(x, found)
    assert lost["difference_max"] == (x.double() - found.double()).abs().max()
    cosines = [sum(a * b for a, b in zip(r, s, strict=True)) / math.sqrt(sum(a * a for a in r) * sum(b * b for b in s))
               for r, s in zip(x.tolist(), found.tolist(), strict=True)]  # fmt: skip
    assert float(lost["cosine_min"]) == pytest.approx(min(cosines), abs=1e-12)
    assert float(lost["cosine_mean"]) == pytest.approx(sum(cosines) / 40, abs=1e-12)
    exact = parse_format("float32").losses(torch.zeros(3, 2), torch.zeros(3, 2))
    assert {name: float(value) for name, value in exact.items()} == {
        "difference_max": 0, "cosine_min": 1, "cosine_mean": 1
    }  # fmt: skip


def test_a_top_formats_loss_is_the_divergence_of_its_probabilities():
    x = 3 * random(5, 11)
    form = parse_format("top3")
    lost = form.losses(x, form.decode(form.encode(x)))
    expected = []
    for row in x.tolist():
        p = loops(row, 11 - 1, 1.0)  # ten largest and the last one: all of them
        expected.append(sum(a * math.log(a / b) for a, b in zip(p, loops(row, 3, 1.0), strict=True)))
    assert float(lost["divergence_max"]) == pytest.approx(max(expected), rel=1e-4)
    assert float(lost["divergence_mean"]) == pytest.approx(sum(expected) / 5, rel=1e-4)


def test_batches_losses_are_merged():
    parts = [(3, {"a_max": 1.0, "b_min": 0.5, "c_mean": 1.0}), (1, {"a_max": 2.0, "b_min": 0.7, "c_mean": 5.0})]
    assert merged(parts) == {"a_max": 2.0, "b_min": 0.5, "c_mean": 2.0}


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "int8", "top2"])
@pytest.mark.parametrize("shape", [(10,), (4, 10), (10, 3, 2)])
def test_the_bytes_of_an_answer_are_foretold(name, shape):
    form = parse_format(name)
    kept = form.encode(random(8, *shape))
    kept.pop(".classes", None)  # one number an answer, whatever it is
    assert sum(x.nbytes for x in kept.values()) == 8 * form.bytes_of(shape)


@pytest.mark.parametrize("name", ["float8", "top0", "top", "top3@0", "int"])
def test_an_unknown_format_is_named(name):
    with pytest.raises(InputError, match=rf"format: '{name}' given; accepted: float32"):
        parse_format(name)


def test_as_many_classes_as_there_are_need_no_tail():
    with pytest.raises(InputError, match="'top4': there are 4 classes"):
        parse_format("top4").encode(random(2, 4))
