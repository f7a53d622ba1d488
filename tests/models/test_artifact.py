from torch import nn

from kdmm.models.artifact import architecture, save_model


def test_an_architecture_is_what_a_model_is_built_from_apart_from_where_it_began(tmp_path):
    file = tmp_path / "m.safetensors"
    tower = {"_target_": "kdmm.models.TimmImage", "name": "tf_efficientnet_lite0", "stages": 2}
    bare = {"_target_": "any.Model", "tower": tower, "parts": [{"width": 3}]}
    begun = {**tower, "weights": "some.pth", "frozen": ["conv_stem"]}
    for tree in (bare, {**bare, "tower": begun, "parts": [{"width": 3, "trained_on": {"fold": 0}}], "weights": None}):
        save_model(file, nn.Linear(1, 1), tree)
        assert architecture(file) == bare
    save_model(file, nn.Linear(1, 1), {**bare, "parts": [{"width": 4}]})
    assert architecture(file) != bare
