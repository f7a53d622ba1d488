import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdmm.analysis import forward_flops, training_flops

B = 6


class Model(nn.Module):
    """A convolution (3 to 4 channels, 3 x 3, on 5 x 5 without padding), batch norm and a linear layer (36 to 7)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.linear = nn.Linear(36, 7)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        features = self.drop(self.norm(self.conv(batch["image"])).flatten(1))
        return {"image": self.linear(features), "present/image": torch.ones(B, dtype=torch.bool)}


CONV = 2 * B * 3 * 3 * (4 * 3 * 3 * 3)
LINEAR = 2 * B * 36 * 7
BATCH = {"image": torch.randn(B, 3, 5, 5)}


def test_a_forward_pass_is_counted_by_hand() -> None:
    model = Model().train()
    assert forward_flops(model, BATCH) == CONV + LINEAR
    assert model.training
    assert forward_flops(model, {"image": BATCH["image"]}) == forward_flops(model.eval(), BATCH)


def test_training_costs_three_forward_passes_but_for_the_first_input() -> None:
    assert training_flops(Model(), BATCH) == 3 * LINEAR + 2 * CONV  # nobody asks for the gradient of the pictures


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_grouped_and_transposed_convolutions_cost_three_passes_too(kind: type[nn.Module], groups: int) -> None:
    class Convolution(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = kind(4, 8, 3, stride=2, groups=groups)

        def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"image": self.conv(batch["image"])}

    x = torch.randn(B, 4, 9, 9, requires_grad=True)
    places = 4 * 4 if kind is nn.Conv2d else 9 * 9  # each weight is used once for each
    forward = 2 * B * places * (4 * 8 // groups) * 9
    assert forward_flops(Convolution(), {"image": x}) == forward
    assert training_flops(Convolution(), {"image": x}) == 3 * forward


def test_frozen_parts_cost_no_backward_pass() -> None:
    model = Model()
    model.conv.requires_grad_(False)
    model.norm.requires_grad_(False)
    assert training_flops(model, BATCH) == CONV + 2 * LINEAR
    assert training_flops(model.requires_grad_(False), BATCH) == CONV + LINEAR


def test_counting_leaves_no_trace() -> None:
    model = Model().eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    training_flops(model, BATCH)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training
    assert torch.equal(torch.get_rng_state(), random_state)


class Attention(nn.Module):
    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        x = batch["text"]
        return {"text": F.scaled_dot_product_attention(x, x, x)}


def test_fused_attention_is_counted_as_its_two_products() -> None:
    x = torch.randn(2, 4, 10, 8, requires_grad=True)  # B heads T D
    forward = 2 * (2 * 2 * 4 * 10 * 10 * 8)
    assert forward_flops(Attention(), {"text": x}) == forward
    assert training_flops(Attention(), {"text": x}) == 3 * forward


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3)])
def test_recurrent_layers_are_counted_by_hand(kind: type[nn.Module], gates: int) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = kind(5, 8, batch_first=True, bidirectional=True)

        def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"text": self.layer(batch["text"])[0]}

    tokens = 7
    step = 2 * B * gates * 8  # operations a unit of what is read
    forward = 2 * tokens * step * (5 + 8)
    model, x = Recurrent(), {"text": torch.randn(B, tokens, 5)}
    assert forward_flops(model, x) == forward
    backward = 2 * (tokens * step * (5 + 2 * 8) - step * 8)  # no gradient of the input, nor of the first state
    assert training_flops(model, x) == forward + backward
    assert torch.backends.mkldnn.enabled
