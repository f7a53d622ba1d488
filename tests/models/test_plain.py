import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from kdmm.errors import InputError
from kdmm.models import ImageTransform, Plain
from tests.losses.data import flags

X = torch.randn(3, 4)


class Returns(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, *inputs, **named):
        return self.value(*inputs, **named)


def test_a_tensor_gets_the_name_given():
    linear = nn.Linear(4, 2)
    assert torch.equal(Plain(linear)({"inputs": X})["logits"], linear(X))
    assert torch.equal(Plain(linear, output="image")({"inputs": X})["image"], linear(X))


def test_inputs_are_passed_by_position_or_by_name():
    model = Plain(Returns(lambda a, b: a - b))
    assert torch.equal(model({"inputs": (X, 2 * X)})["logits"], -X)
    torch.testing.assert_close(model({"inputs": {"b": X, "a": 3 * X}})["logits"], 2 * X)


def test_a_transformers_model_gives_what_it_returns_by_name():
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8, num_labels=3
    )
    bert = BertForSequenceClassification(config).eval()
    tokens = {"input_ids": torch.randint(0, 20, (2, 5)), "attention_mask": torch.ones(2, 5, dtype=torch.long)}
    expected = bert(**tokens, output_hidden_states=True)
    bert.config.output_hidden_states = True
    outputs = Plain(bert)({"inputs": tokens})
    assert sorted(outputs) == ["hidden_states.0", "hidden_states.1", "hidden_states.2", "logits"]
    torch.testing.assert_close(outputs["logits"], expected.logits)
    torch.testing.assert_close(outputs["hidden_states.2"], expected.hidden_states[2])


def test_pictures_are_placed_among_the_samples_that_have_one():
    model = Plain(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), image=ImageTransform(2))
    images, flag = torch.randn(2, 3, 2, 2), flags("101")
    outputs = model({"image": images, "present/image": flag})
    assert torch.equal(outputs["present/logits"], flag)
    assert torch.equal(outputs["logits"][flag], model.model(images))
    assert (outputs["logits"][1] == 0).all()


@pytest.mark.parametrize("value", [lambda x: 3, lambda x: {}, lambda x: {"a": "b"}])
def test_other_results_are_refused(value):
    with pytest.raises(InputError, match=r"Returns returns (int|dict)\. A plain model"):
        Plain(Returns(value))({"inputs": X})
