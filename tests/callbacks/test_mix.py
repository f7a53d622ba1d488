import pytest
import torch

from kdmm.callbacks import Mix
from kdmm.callbacks.mix import cut_mixed, mixed_up
from kdmm.errors import InputError
from tests.losses.data import flags

N = 4
LABELS = torch.tensor([0, 1, 2, 3, 7])
HAS = flags("11101")


def batch(sizes=(8, 16), **changed):
    def part(size):
        image = torch.arange(N, dtype=torch.float32)[:, None, None, None].expand(N, 3, size, size)
        return {"id": list("abcde"), "image": image, "present/image": HAS, "present/text": flags("00000")}

    return {"id": list("abcde"), "label": LABELS, "student": part(sizes[0]), "teacher": part(sizes[1]), **changed}


def mixed(mix, given=None, seed=0):
    torch.manual_seed(seed)
    given = batch() if given is None else given
    mix.on_train_batch_start(None, None, given, 0)
    return given


@pytest.mark.parametrize("mix", [Mix(mixup=1.0), Mix(cutmix=1.0)], ids=["mixup", "cutmix"])
@pytest.mark.parametrize("seed", range(6))
def test_both_models_see_the_same_mixture_and_labels_agree_with_it(mix, seed):
    found = mixed(mix, seed=seed)
    share, partner = found["mixed/share"], found["mixed/label"]
    student, teacher = (found[model]["image"] for model in ("student", "teacher"))
    own = torch.arange(N, dtype=torch.float32)
    places = LABELS[HAS].tolist()
    other = torch.tensor([float(places.index(int(label))) for label in partner[HAS]])
    expected = share * own + (1 - share) * other
    for image, tolerance in ((student, 0.1), (teacher, 0.05)):  # CutMix cuts whole pixels of 8 and of 16
        torch.testing.assert_close(image.mean((1, 2, 3)), expected, rtol=0, atol=3 * tolerance if mix.cutmix else 1e-5)
    assert partner[3] == LABELS[3]  # it has no picture: nothing is mixed


def test_mixup_is_linear():
    image, order = torch.randn(3, 3, 2, 2), torch.tensor([2, 0, 1])
    torch.testing.assert_close(mixed_up(image, order, 0.7), 0.7 * image + 0.3 * image[order])


def test_cutmix_takes_one_rectangle_from_the_partner():
    image, order = torch.randn(2, 3, 8, 8), torch.tensor([1, 0])
    result = cut_mixed(image, order, 0.75, [1.0, 0.5])  # a side of 4, at the bottom, in the middle
    expected = image.clone()
    expected[:, :, 4:, 2:6] = image[order][:, :, 4:, 2:6]
    assert torch.equal(result, expected)


def test_what_is_drawn_follows_the_seed_alone():
    first, again, other = (mixed(Mix(mixup=1.0, cutmix=1.0), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first["student"]["image"], again["student"]["image"])
    assert first["mixed/share"] == again["mixed/share"] != other["mixed/share"]


def test_models_that_share_a_tensor_go_on_sharing_it():
    given = batch(sizes=(8, 8))
    given["teacher"]["image"] = given["student"]["image"]
    found = mixed(Mix(mixup=1.0), given)
    assert found["teacher"]["image"] is found["student"]["image"]


def test_who_cannot_see_the_mixture_is_refused():
    given = batch()
    del given["teacher"]["image"]
    with pytest.raises(InputError, match=r"teacher does not read the image.*Precomputed, Cached"):
        mixed(Mix(mixup=1.0), given)
    given = batch()
    given["student"] |= {"present/text": flags("10000"), "text": torch.zeros(1, 7, dtype=torch.int64)}
    with pytest.raises(InputError, match=r"student reads the text .*captions"):
        mixed(Mix(mixup=1.0), given)


def test_captions_that_no_model_reads_do_not_matter():
    given = batch()
    for model in ("student", "teacher"):
        given[model]["present/text"] = flags("11111")
    assert torch.equal(mixed(Mix(mixup=1.0), given)["student"]["image"], mixed(Mix(mixup=1.0))["student"]["image"])


@pytest.mark.parametrize("settings", [{}, {"mixup": -1.0, "cutmix": 2.0}])
def test_wrong_settings_are_named(settings):
    with pytest.raises(InputError, match="Mix: mixup is"):
        Mix(**settings)


def test_sounds_are_mixed_up_alike_for_every_model():
    part = {"id": ["a", "b"], "present/audio": flags("11")}
    given = {
        "id": ["a", "b"],
        "label": torch.tensor([3, 4]),
        "student": {**part, "audio": torch.tensor([[1.0, 1.0], [0.0, 0.0]])},
        "teacher": {**part, "audio": torch.tensor([[1.0], [0.0]])},
    }
    for seed in range(20):
        found = mixed(Mix(mixup=1.0, modality="audio"), {**given, "student": dict(given["student"])}, seed=seed)
        share = found["mixed/share"]
        if found["mixed/label"].tolist() == [4, 3]:
            break
    torch.testing.assert_close(found["student"]["audio"], torch.tensor([[share] * 2, [1 - share] * 2]))
    torch.testing.assert_close(found["teacher"]["audio"], found["student"]["audio"][:, :1])


def test_a_rectangle_of_a_sound_is_refused():
    with pytest.raises(InputError, match=r"Mix.cutmix: 0.5 given with `modality: audio`"):
        Mix(cutmix=0.5, modality="audio")
