import math
from itertools import combinations

import pytest
import torch
from torch import nn

from kdmm.errors import InputError
from kdmm.losses import Affinity, Contrastive
from kdmm.models import SharedSpace, load_model, save_model
from kdmm.models.towers import AudioTower, ImageTower, TextTower
from kdmm.teachers import Frozen

PAIRS = {"audio-image", "audio-text", "image-text"}


class Pooled(ImageTower):
    width = 3
    preprocess = staticmethod(len)

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, image):
        return self.linear(image.mean((2, 3)))


class Counts(TextTower):
    width = 5
    preprocess = staticmethod(len)

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 5)

    def forward(self, text):
        return self.embedding(text).mean(1)


class Spectrum(AudioTower):
    width = 4
    preprocess = staticmethod(len)

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, audio):
        return self.linear(audio)


def space(**settings):
    torch.manual_seed(0)
    return SharedSpace({"image": Pooled(), "text": Counts(), "audio": Spectrum()}, embed_dim=8, **settings)


def batch(flags):
    """A batch of B samples; ``flags`` says for each modality who has it."""
    torch.manual_seed(1)
    rows = {name: torch.tensor([each == "1" for each in who]) for name, who in flags.items()}
    made = {f"present/{name}": flag for name, flag in rows.items()}
    inputs = {
        "image": lambda n: torch.randn(n, 3, 2, 2),
        "text": lambda n: torch.randint(9, (n, 4)),
        "audio": lambda n: torch.randn(n, 6),
    }
    return made | {name: inputs[name](int(flag.sum())) for name, flag in rows.items() if flag.any()}


def test_each_modality_is_embedded_where_it_is():
    model = space()
    made = batch({"image": "110000", "text": "011100", "audio": "000111"})
    outputs = model(made)
    for name, who in (("image", [0, 1]), ("text", [1, 2, 3]), ("audio", [3, 4, 5])):
        alone = model({name: made[name]})[name]
        torch.testing.assert_close(outputs[name][who], alone)
        torch.testing.assert_close(alone.norm(dim=1), torch.ones(len(who)))
        absent = [row for row in range(6) if row not in who]
        assert outputs[name][absent].abs().max() == 0
    assert outputs["logit_scale"].item() == pytest.approx(1 / 0.07)


def test_absent_entries_change_no_gradient():
    """Issue 4: the terms of three modalities give the same gradients whether the samples lacking them are there."""
    terms = [Contrastive(pair) for pair in (["image", "text"], ["audio", "text"], ["image", "audio"])]
    flags = {"image": "11110000", "text": "11001100", "audio": "10101010"}
    gradients = []
    for row in (None, 1):
        model = space()
        if row is None:
            made, ids = batch(flags), torch.arange(8)
        else:  # the same samples, with four that have nothing between and after them
            longer = {name: "".join(each + "0" for each in who[:4]) + who[4:] for name, who in flags.items()}
            made, ids = batch(longer), torch.tensor([0, 90, 1, 91, 2, 92, 3, 93, 4, 5, 6, 7])
        outputs = model(made)
        loss = sum(term(outputs, {}, {"caption_id": ids}) for term in terms)
        loss.backward()
        gradients.append([each.grad.clone() for each in model.parameters() if each.grad is not None])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-7)


def test_pairs_have_their_own_scales_and_biases_and_terms_read_them():
    model = space(scales="pairwise", init_logit_bias=-1.0)
    with torch.no_grad():
        model.log_logit_scale.copy_(torch.tensor([1.0, 2.0, 3.0]))
    made = batch({"image": "1111", "text": "1111", "audio": "1111"})
    outputs = model(made)
    assert set(model.pairs) == PAIRS
    for number, (one, other) in enumerate(combinations(model.towers, 2)):
        name = "-".join(sorted((one, other)))
        assert outputs[f"logit_scale/{name}"].item() == pytest.approx(math.exp(number + 1))
        ids = {"caption_id": torch.arange(4)}
        found = Contrastive([one, other])(outputs, {}, ids)
        plain = {one: outputs[one], other: outputs[other], "logit_scale": torch.tensor(math.exp(number + 1))}
        torch.testing.assert_close(found, Contrastive([one, other])(plain, {}, ids))
        assert Affinity([one, other])(outputs, plain, ids).item() == pytest.approx(0, abs=1e-6)
        sigmoid = Contrastive([one, other], form="sigmoid")
        plain["logit_bias"] = torch.tensor(-1.0)
        torch.testing.assert_close(sigmoid(outputs, {}, ids), sigmoid(plain, {}, ids))


def test_what_a_space_gives_is_known_before_it_is_built():
    outputs = space(scales="pairwise", init_logit_bias=0.0)(batch({"image": "1", "text": "1", "audio": "1"}))
    given = SharedSpace.gives({"towers": {"image": 1, "text": 2, "audio": 3}})
    assert {name for name in outputs if not name.startswith("present/")} == given
    assert SharedSpace.gives({}) is None


def test_locked_towers_stay_as_they_are():
    model = space(freeze=["text"]).train()
    assert not model.towers["text"].training
    sum(value.sum() for value in model(batch({"image": "11", "text": "11", "audio": "11"})).values()).backward()
    assert all(each.grad is None for each in model.towers["text"].parameters())
    assert model.projections["text"].weight.grad is not None


@pytest.mark.parametrize(
    ("towers", "settings", "message"),
    [
        ([], {}, "towers: none given"),
        (["image", "txt"], {}, "'txt' is no modality.*text"),
        (["image", "text"], {}, "embed_dim: the image tower is 3 wide and the text tower is 5 wide"),
        (["image", "text"], {"embed_dim": 4, "freeze": ["audio"]}, "freeze: 'audio' is no tower"),
    ],
)
def test_a_space_that_cannot_be_is_named(towers, settings, message):
    kinds = {"image": Pooled, "text": Counts, "txt": Counts}
    with pytest.raises(InputError, match=message):
        SharedSpace({name: kinds[name]() for name in towers}, **settings)


def test_a_space_is_kept_and_loaded(tmp_path):
    audio = {"_target_": "kdmm.models.MelCNN", "channels": [4, 8], "seconds": 0.5}
    text = {"_target_": "tests.models.test_shared_space.Counts"}
    tree = {"_target_": "kdmm.models.SharedSpace", "towers": {"audio": audio, "text": text}, "embed_dim": 4}
    from kdmm.targets import build

    model = build(tree, allow=("tests",)).eval()
    save_model(tmp_path / "m.safetensors", model, tree)
    loaded = load_model(tmp_path / "m.safetensors", allow=("tests",))
    sound = {"audio": torch.randn(2, len(model.preprocess.audio(_tone())))}
    torch.testing.assert_close(loaded.eval()(sound)["audio"], model(sound)["audio"])
    with pytest.raises(InputError, match="no trained weights"):
        Frozen(model)
    assert Frozen(loaded).model is loaded


def _tone():
    from kdmm.models.audio import AudioClip

    return AudioClip(torch.randn(1, 8000), 16_000)
