import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import AttentionPool, Conv, Fit, Tokens, Width
from kdmm.losses.adapters import Adapter
from tests.losses.cases.stages import randoms

B = 3
SHAPES = {
    "vectors": ((B, 5), (B, 7)),
    "tokens": ((B, 6, 5), (B, 6, 7)),
    "fewer tokens": ((B, 6, 5), (B, 4, 7)),
    "maps": ((B, 5, 4, 3), (B, 7, 4, 3)),
    "smaller maps": ((B, 5, 4, 3), (B, 7, 2, 5)),
    "tokens to a vector": ((B, 6, 5), (B, 7)),
    "maps to a vector": ((B, 5, 4, 3), (B, 7)),
}


def built(adapter, student, teacher, dtype=torch.float64):
    adapter.build(student, teacher)
    return adapter.to(dtype)


@pytest.mark.parametrize(("ours", "theirs"), SHAPES.values(), ids=SHAPES)
def test_fit_gives_the_teachers_shape_and_every_parameter_learns(ours, theirs):
    student, teacher = randoms(1, *ours), randoms(2, *theirs)
    adapter = built(Fit(), student, teacher)
    mapped = adapter(student, teacher)
    assert mapped.shape == teacher.shape
    (mapped * teacher).sum().backward()
    assert list(adapter.parameters())
    assert all(p.grad.abs().sum() > 0 for p in adapter.parameters())


@pytest.mark.parametrize(("ours", "theirs"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_layers_compute_in_float32_whatever_the_precision(ours, theirs, dtype):
    student, teacher = randoms(1, *ours).to(dtype), randoms(2, *theirs).to(dtype)
    adapter = built(Fit(), student, teacher, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mapped = adapter(student, teacher)
    assert mapped.dtype is torch.float32
    expected = adapter.double()(student.double(), teacher.double())
    torch.testing.assert_close(mapped.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(B, 5), (B, 6, 5), (B, 5, 4, 3)])
def test_of_equal_shapes_no_layer_is_made_unless_asked_for(shape):
    x, teacher = randoms(1, *shape), randoms(2, *shape)
    unasked = Fit()
    assert unasked(x, teacher) is x, "without a dry batch too"
    assert not list(unasked.parameters())
    asked = Fit(always=True)
    with pytest.raises(InputError, match="Show the objective one batch"):
        asked(x, teacher)
    mapped = built(asked, x, teacher)(x, teacher)
    assert mapped.shape == x.shape
    assert not torch.equal(mapped, x)
    assert len(list(asked.parameters())) == 2


def test_a_convolution_is_the_linear_map_at_each_place():
    student, teacher = randoms(1, B, 5, 4, 3), randoms(2, B, 7, 4, 3)
    conv = built(Conv(), student, teacher)
    expected = F.linear(student.movedim(1, -1), conv.map.weight[:, :, 0, 0], conv.map.bias).movedim(-1, 1)
    torch.testing.assert_close(conv(student, teacher), expected)


def test_a_ramp_is_resized_to_a_ramp():
    """Between the centres of the outermost places, which is where interpolation ends."""
    ramp = torch.arange(8.0, dtype=torch.float64)
    halved = torch.tensor([0.5, 2.5, 4.5, 6.5], dtype=torch.float64)
    tokens = Tokens()(ramp.reshape(1, 8, 1), torch.empty(1, 8, 1))
    assert torch.equal(tokens.flatten(), ramp)
    fewer = built(Tokens(), ramp.reshape(1, 8, 1), torch.empty(1, 4, 1))
    torch.testing.assert_close(fewer(ramp.reshape(1, 8, 1), torch.empty(1, 4, 1)).flatten(), halved)
    smaller = built(Conv(), ramp.reshape(1, 1, 1, 8), torch.empty(1, 1, 1, 4))
    torch.testing.assert_close(smaller(ramp.reshape(1, 1, 1, 8), torch.empty(1, 1, 1, 4)).flatten(), halved)


@pytest.mark.parametrize("shape", [(B, 6, 5), (B, 5, 3, 2)])
def test_attention_pooling_begins_as_the_mean_and_ends_at_one_place(shape):
    student, teacher = randoms(1, *shape), randoms(2, B, 7)
    pool = built(AttentionPool(), student, teacher)
    places = student if student.ndim == 3 else student.flatten(2).mT
    torch.testing.assert_close(pool(student, teacher), pool.map(places.mean(1)))
    with torch.no_grad():
        pool.query.copy_(1e4 * places[0, 2])
    most = (places[0] @ places[0, 2]).argmax()
    torch.testing.assert_close(pool(student, teacher)[0], pool.map(places[0, most]))


REFUSED = [
    (Width, (B, 5, 4, 3), (B, 7, 4, 3)),
    (Width, (B, 5), (B, 6, 7)),
    (Tokens, (B, 5), (B, 7)),
    (Conv, (B, 6, 5), (B, 7, 4, 3)),
    (AttentionPool, (B, 5), (B, 7)),
    (AttentionPool, (B, 6, 5), (B, 6, 7)),
    (Fit, (B, 5), (B, 6, 7)),
    (Fit, (B, 6, 5), (B, 7, 4, 3)),
]


@pytest.mark.parametrize(("kind", "ours", "theirs"), REFUSED)
def test_shapes_that_do_not_fit_are_refused_by_name(kind, ours, theirs):
    with pytest.raises(InputError) as error:
        kind().build(torch.empty(ours), torch.empty(theirs))
    assert f"{kind.__name__} cannot map the student's {ours} to the teacher's {theirs}" in str(error.value)
    assert "Name another adapter" in str(error.value)


def test_it_takes_no_sample_at_all():
    for ours, theirs in SHAPES.values():
        adapter = built(Fit(), randoms(1, *ours), randoms(2, *theirs))
        assert adapter(torch.empty(0, *ours[1:]), torch.empty(0, *theirs[1:])).shape == (0, *theirs[1:])


def test_an_adapter_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Adapter()
