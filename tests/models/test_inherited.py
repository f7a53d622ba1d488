import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kdmm.errors import InputError
from kdmm.models import Inherited


def mlp(width, hidden):
    return nn.Sequential(nn.Linear(3, width), nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))


def saved(model, tmp_path):
    save_file(model.state_dict(), tmp_path / "donor.safetensors")
    return str(tmp_path / "donor.safetensors")


def test_equal_layers_are_copied_and_others_left(tmp_path):
    donor, student = mlp(4, 6), mlp(4, 6)
    before = student[3].weight.clone()
    Inherited(student, {"0": "0", "1": "1"}, saved(donor, tmp_path))
    for layer in (0, 1):
        assert torch.equal(student[layer].weight, donor[layer].weight)
        assert torch.equal(student[layer].bias, donor[layer].bias)
    assert torch.equal(student[3].weight, before)


def test_layers_come_from_those_that_the_mapping_says(tmp_path):
    donor = nn.Sequential(*(nn.Linear(4, 4) for _ in range(6)))
    student = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    Inherited(student, {"0": "2", "1": "5"}, saved(donor, tmp_path))
    assert torch.equal(student[0].weight, donor[2].weight)
    assert torch.equal(student[1].weight, donor[5].weight)


def test_a_network_with_idle_channels_keeps_its_function_when_narrowed(tmp_path):
    """Of 8 and 10 channels, 4 and 6 do something: they are the ones selected, the same in all layers."""
    torch.manual_seed(0)
    small = mlp(4, 6)
    wide, places, hidden = mlp(8, 10), torch.tensor([1, 2, 5, 7]), torch.tensor([0, 3, 4, 6, 8, 9])
    for parameter in wide.parameters():
        parameter.data.zero_()
    wide[0].weight.data[places], wide[0].bias.data[places] = small[0].weight.data, small[0].bias.data
    wide[1].weight.data[hidden[:, None], places], wide[1].bias.data[hidden] = small[1].weight.data, small[1].bias.data
    wide[3].weight.data[places[:, None], hidden], wide[3].bias.data[places] = small[3].weight.data, small[3].bias.data
    student = Inherited(mlp(4, 6), {"0": "0", "1": "1", "3": "3"}, saved(wide, tmp_path))
    x = torch.randn(5, 3)
    torch.testing.assert_close(student(x), wide(x)[:, places])


def test_a_fused_query_key_value_keeps_the_same_channels_in_each_third(tmp_path):
    donor, student = nn.MultiheadAttention(4, 1), nn.MultiheadAttention(2, 1)
    for parameter in donor.parameters():
        parameter.data.normal_()
    donor.out_proj.weight.data[[1, 3]] *= 100  # channels 1 and 3 are the strongest
    Inherited(student, {"in_proj_weight": "in_proj_weight", "out_proj": "out_proj"}, saved(donor, tmp_path))
    rows, columns = torch.tensor([1, 3, 5, 7, 9, 11]), torch.tensor([1, 3])
    assert torch.equal(student.in_proj_weight, donor.in_proj_weight[rows][:, columns])
    assert torch.equal(student.out_proj.weight, donor.out_proj.weight[columns][:, columns])


def test_first_takes_the_first_channels(tmp_path):
    donor = nn.Linear(6, 4)
    student = Inherited(nn.Linear(3, 2), {"weight": "weight"}, saved(donor, tmp_path), select="first")
    assert torch.equal(student.weight, donor.weight[:2, :3])


def test_without_weights_the_model_is_left_alone():
    model = mlp(4, 6)
    before = model[0].weight.clone()
    assert Inherited(model, {"nothing": "here"}) is model
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"9": "0"}, r"the student has no '9'"),
        ({"0": "7"}, r"donor.safetensors' has no '7'"),
        ({"1": "0"}, r"'1.weight' is \(6, 4\) and '0.weight' of .* is \(4, 3\)"),
        ({"0": "0.weight"}, r"would come from '0.weight.weight'"),
    ],
)
def test_a_wrong_mapping_is_explained(tmp_path, layers, message):
    with pytest.raises(InputError, match=message):
        Inherited(mlp(4, 6), layers, saved(mlp(4, 6), tmp_path))
