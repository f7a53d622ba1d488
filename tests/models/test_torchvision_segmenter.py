import pytest
import torch
from torchvision.models import get_model

from kdmm.errors import InputError
from kdmm.models import TorchvisionSegmenter
from kdmm.targets import check
from tests.losses.data import flags

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LRASPP, DEEPLAB = "lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """LR-ASPP of 21 classes as torchvision builds it, and its file."""
    torch.manual_seed(0)
    model = get_model(LRASPP, weights=None, weights_backbone=None, num_classes=21).eval()
    path = tmp_path_factory.mktemp("weights") / "lraspp.pth"
    torch.save(model.state_dict(), path)
    return model, str(path)


def test_logits_are_torchvisions_at_full_size_and_weights_come_from_a_file(network):
    model, path = network
    ours = TorchvisionSegmenter(LRASPP, 21, 64, weights=path).eval()
    with torch.no_grad():
        found = ours({"image": IMAGES, "present/image": flags("110")})
        torch.testing.assert_close(found["logits"][:2], model(IMAGES)["out"])
    assert found["logits"].shape == (3, 21, 64, 64)
    assert torch.equal(found["present/logits"], flags("110"))
    assert ours.preprocess.image.resize_mode == "squash"


def test_a_file_for_other_classes_serves_all_but_the_last_layers(network):
    model, path = network
    state, ours = model.state_dict(), TorchvisionSegmenter(LRASPP, 5, weights=path).network.state_dict()
    different = {name for name in ours if not torch.equal(ours[name], state[name])}
    assert {name.rpartition(".")[0] for name in different} == {
        "classifier.low_classifier",
        "classifier.high_classifier",
    }
    with pytest.raises(InputError, match=r"does not fit DeepLabV3"):
        TorchvisionSegmenter(DEEPLAB, 21, weights=path)


def test_the_second_head_has_a_name_of_its_own():
    plain, double = (TorchvisionSegmenter(DEEPLAB, 3, auxiliary=auxiliary).eval() for auxiliary in (False, True))
    with torch.no_grad():
        assert set(plain({"image": IMAGES})) == {"logits", "present/logits"}
        found = double({"image": IMAGES})
        own = double.network(IMAGES)
    assert set(found) == {"logits", "present/logits", "auxiliary", "present/auxiliary"}
    torch.testing.assert_close(found["auxiliary"], own["aux"])
    torch.testing.assert_close(found["logits"], own["out"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "deeplabv3_resnet5", "classes": 3}, "no segmenter 'deeplabv3_resnet5'.*mean 'deeplabv3_resnet50'"),
        ({"name": LRASPP, "classes": 1}, "TorchvisionSegmenter.classes: 1"),
        ({"name": LRASPP, "classes": 3, "auxiliary": True}, "TorchvisionSegmenter.auxiliary: .*no second head"),
    ],
)
def test_wrong_settings_are_named(settings, said):
    with pytest.raises(InputError, match=said):
        TorchvisionSegmenter(**settings)


def test_kdmm_check_finds_a_wrong_name_and_number_of_classes():
    segmenter = {"_target_": "kdmm.models.TorchvisionSegmenter"}
    name, number = check(
        [{**segmenter, "name": "deeplabv3", "classes": 3}, {**segmenter, "name": LRASPP, "classes": 1}]
    )
    assert "torchvision has no segmenter 'deeplabv3'" in name.found
    assert "TorchvisionSegmenter.classes: 1" in number.found
    assert check({**segmenter, "name": LRASPP, "classes": 2}) == []
    number = {"_target_": "kdmm.data.ClassNames", "source": {"_target_": "kdmm.data.Digits"}, "label": "digit"}
    assert check({**segmenter, "name": LRASPP, "classes": number}) == []  # a node is not judged
