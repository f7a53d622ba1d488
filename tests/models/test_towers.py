import pytest
import timm
import torch
from torch import nn

import kdmm.models
from kdmm.errors import InputError
from kdmm.models import BagOfTokens, TimmImage, TransformerText
from kdmm.models.files import read_state
from kdmm.models.towers.timm_trunk import TimmTrunk
from kdmm.targets import check
from tests.conftest import LITE0, MINILM


@pytest.fixture(scope="module")
def lite0():
    """The packaged network, assembled by hand: tensors in order, under timm's names."""
    network = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    state = dict(zip(network.state_dict(), read_state(LITE0).values(), strict=True))
    network.load_state_dict(state)
    return network.eval()


def test_packaged_weights_give_the_networks_own_features(lite0):
    tower = TimmImage("tf_efficientnet_lite0", 64, weights=LITE0).eval()
    image = torch.randn(2, 3, 64, 64)
    expected = lite0.forward_head(lite0.forward_features(image), pre_logits=True)
    torch.testing.assert_close(tower(image), expected)
    assert tower.width == 1280


def test_first_stages_equal_the_whole_networks(lite0):
    tower = TimmImage("tf_efficientnet_lite0", 64, stages=4, weights=LITE0).eval()
    image = torch.randn(2, 3, 64, 64)
    x = lite0.bn1(lite0.conv_stem(image))
    for block in lite0.blocks[:5]:
        x = block(x)
    torch.testing.assert_close(tower(image), x.mean((2, 3)))
    assert tower.width == 112


def test_frozen_modules_keep_weights_and_statistics():
    frozen = ["conv_stem", "bn1", "blocks.0", "blocks.1"]
    tower = TimmImage("tf_efficientnet_lite0", 32, stages=3, head_width=16, weights=LITE0, frozen=frozen).train()
    before = {name: value.clone() for name, value in tower.trunk.state_dict().items()}
    tower(torch.randn(4, 3, 32, 32)).square().sum().backward()
    for name, value in tower.trunk.state_dict().items():
        is_frozen = name.startswith(tuple(part + "." for part in frozen))
        assert torch.equal(value, before[name]) or not is_frozen, name
        assert not torch.equal(value, before[name]) or "running_mean" not in name or is_frozen, name
    for name, parameter in tower.named_parameters():
        is_frozen = name.startswith(tuple(f"trunk.{part}." for part in frozen))
        assert (parameter.grad is None) == is_frozen, name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "tf_efficientnet_lite00"}, "Did you mean 'tf_efficientnet_lite0'"),
        ({"name": "tf_efficientnet_lite0", "stages": 9}, "1 to 5 stages"),
        ({"name": "tf_efficientnet_lite0", "head_width": 8}, "a head needs `stages`"),
        ({"name": "tf_efficientnet_lite0", "stages": 2, "frozen": ["bn1"]}, "need `weights`"),
        ({"name": "tf_efficientnet_lite0", "weights": LITE0, "frozen": ["block.0"]}, "Did you mean 'blocks.0'"),
        ({"name": "tf_efficientnet_lite0", "weights": "nowhere.pth"}, "'nowhere.pth' is no file"),
        ({"name": "tf_efficientnet_lite0", "weights": "package:no_such_package/x.pth"}, "not installed"),
        ({"name": "resnet18", "weights": LITE0}, "does not fit"),
    ],
)
def test_wrong_image_tower_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        TimmImage(**arguments)


def test_weights_that_are_more_than_tensors_are_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(InputError, match="holds more than tensors"):
        read_state(str(tmp_path / "module.pth"))
    (tmp_path / "empty.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be read"):
        read_state(str(tmp_path / "empty.safetensors"))


def test_mean_pooling_ignores_padding():
    tower = TransformerText(MINILM).eval()
    alone = tower(tower.preprocess(["a cat"]))
    padded = tower(tower.preprocess(["a cat", "a much longer caption about a very different animal"]))
    torch.testing.assert_close(alone[0], padded[0], atol=1e-5, rtol=1e-4)


def test_fewer_layers_are_the_first_ones():
    whole, part = TransformerText(MINILM), TransformerText(MINILM, layers=2)
    own = part.trunk.state_dict()
    assert {name.split(".")[2] for name in own if name.startswith("encoder.layer")} == {"0", "1"}
    assert all(torch.equal(value, whole.trunk.state_dict()[name]) for name, value in own.items())


def test_missing_text_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="neither a folder"):
        TransformerText(str(tmp_path))


def test_bag_is_the_mean_of_its_words():
    tower = BagOfTokens(MINILM, embedding_width=8).eval()
    words = [tower.preprocess([word]) for word in ("red", "car")]
    table = tower.embedding.weight
    expected = (table[words[0][0, 1]] + table[words[1][0, 1]]) / 2
    torch.testing.assert_close(tower(tower.preprocess(["red car", "a longer caption to pad the first"]))[0], expected)


def test_bag_of_nothing_is_zero():
    tower = BagOfTokens(MINILM, embedding_width=8)
    assert tower(tower.preprocess([""])).abs().max() == 0


def test_inherited_embeddings_keep_the_neighbours():
    tower = BagOfTokens(MINILM, embedding_width=64, weights=MINILM)
    full = TransformerText(MINILM).trunk.get_input_embeddings().weight.detach()
    rows = torch.randperm(len(full))[:500]
    centred = full[rows] - full.mean(0)
    gram, reduced = centred @ centred.T, tower.embedding.weight[rows] @ tower.embedding.weight[rows].T
    assert tower.embedding.weight.std().item() == pytest.approx(0.02, rel=1e-3)
    assert torch.corrcoef(torch.stack([gram.flatten(), reduced.flatten()]))[0, 1] > 0.8


def test_kdmm_check_finds_a_wrong_name_of_every_network_of_timm():
    kinds = {name: kind for name, kind in vars(kdmm.models).items() if name in kdmm.models.__all__}
    towers = [name for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, TimmTrunk)]
    assert {"TimmImage", "TimmAudio", "TimmMaps", "TimmPyramid"} <= set(towers)
    for tower in towers:
        node = {"_target_": f"kdmm.models.{tower}", "name": "lcnet_05"}
        needed = {"seconds": 1} if tower == "TimmAudio" else {}
        found = [problem.found for problem in check({**node, **needed})]
        assert found == [f"{tower}.name: timm has no model 'lcnet_05'. Did you mean 'lcnet_075'?"]
