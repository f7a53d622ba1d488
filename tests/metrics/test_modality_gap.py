import copy

import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.metrics import ModalityGap
from kdmm.metrics.functional import linear_separability
from kdmm.metrics.samples import hash_ids
from tests import two_processes
from tests.losses.data import unit

NAMES = ("centroid_distance", "separability", "positive_cosine", "negative_cosine")
COUNT = 90
IDS = [f"s{n}" for n in range(COUNT)]


def update(metric, image, text, ids=IDS, captions=None, teacher=None, **flags):
    captions = torch.arange(len(ids)) if captions is None else captions
    metric.update({"image": image, "text": text, **flags}, teacher or {}, {"id": ids, "caption_id": captions})
    return metric


def numbers(metric):
    found = metric.compute()
    assert all(value.dtype == torch.float32 and value.shape == () for value in found.values())
    return {name: value.item() for name, value in found.items()}


def embeddings(seed=0, apart=0.3):
    first, second = unit(COUNT, 6, seed, torch.float32), unit(COUNT, 6, seed + 1, torch.float32)
    offset = torch.zeros(6)
    offset[0] = apart
    return F.normalize(first + second + offset, dim=1), F.normalize(first - offset, dim=1)


def test_two_shifted_clusters_in_closed_form():
    """Points on a circle, lifted and lowered by a constant: all that differs between the modalities is the gap."""
    angle = torch.arange(COUNT) * 2 * torch.pi / COUNT
    circle = torch.stack([angle.cos(), angle.sin()], 1) * 0.8
    image, text = (F.pad(circle, (0, 1), value=height) for height in (0.6, -0.6))
    found = numbers(update(ModalityGap(), image, text))
    assert found.keys() == {f"image_text_gap/{name}" for name in NAMES}
    assert found["image_text_gap/centroid_distance"] == pytest.approx(1.2)
    assert found["image_text_gap/separability"] == 1
    assert found["image_text_gap/positive_cosine"] == pytest.approx(0.64 - 0.36, abs=1e-6)
    # the circle's points add up to 0, so those of all pairs but one's own add up to minus its own
    assert found["image_text_gap/negative_cosine"] == pytest.approx(-0.64 / (COUNT - 1) - 0.36, abs=1e-6)


def test_equal_modalities_have_no_gap():
    image, _ = embeddings()
    found = numbers(update(ModalityGap(), image, image.clone()))
    assert found["image_text_gap/centroid_distance"] == 0
    assert found["image_text_gap/separability"] == 0.5
    assert found["image_text_gap/positive_cosine"] == pytest.approx(1)


def test_values_are_those_of_brute_force_with_several_and_shared_captions():
    """Of 90 rows there are 45 pictures with two captions each, and 10 captions come twice."""
    image, text = embeddings()
    ids = [f"s{n // 2}" for n in range(COUNT)]
    image = image[::2].repeat_interleave(2, 0)
    captions = torch.arange(COUNT)
    captions[40:50] = torch.arange(10)
    found = numbers(update(ModalityGap(), image, text, ids, captions))
    pictures = {ids[n]: image[n].double() for n in range(COUNT)}
    texts = {(ids[n], int(captions[n])): text[n].double() for n in range(COUNT)}
    own = {name: {caption for other, caption in texts if other == name} for name in pictures}
    cosines = {True: [], False: []}
    for name, picture in pictures.items():
        for (_, caption), row in texts.items():
            cosines[caption in own[name]].append((picture @ row).item())
    assert len(cosines[True]) > COUNT
    means = sum(pictures.values()) / len(pictures), sum(texts.values()) / len(texts)
    assert found["image_text_gap/centroid_distance"] == pytest.approx((means[0] - means[1]).norm().item(), rel=1e-5)
    for right, name in ((True, "positive_cosine"), (False, "negative_cosine")):
        assert found[f"image_text_gap/{name}"] == pytest.approx(sum(cosines[right]) / len(cosines[right]), abs=1e-6)


def test_all_embeddings_of_a_sample_are_held_out_together():
    image, text = embeddings()
    ids = [f"s{n // 3}" for n in range(COUNT)]
    image = image[::3].repeat_interleave(3, 0)
    found = numbers(update(ModalityGap(), image, text, ids))
    order = hash_ids(ids).unique().tolist()
    half = torch.tensor([order.index(each) % 2 == 0 for each in hash_ids(ids).tolist()])
    expected = linear_separability(image[::3], text, half[::3], half).item()
    assert 0.5 < expected < 1
    assert found["image_text_gap/separability"] == pytest.approx(expected)


@pytest.mark.parametrize("size", [7, 1000])
def test_batches_do_not_matter_and_samples_that_come_again_are_dropped(size):
    image, text = embeddings()
    expected = numbers(update(ModalityGap(), image, text))
    metric = ModalityGap()
    order = torch.cat([torch.randperm(COUNT), torch.arange(20)])
    for rows in order.split(size):
        update(metric, image[rows], text[rows], [IDS[row] for row in rows], rows)
    assert numbers(metric) == pytest.approx(expected, abs=1e-6)


def test_samples_that_lack_a_modality_do_not_count():
    image, text = embeddings()
    flag = torch.arange(COUNT) % 3 != 0
    whole = numbers(update(ModalityGap(), image[flag], text[flag], [IDS[n] for n in range(COUNT) if flag[n]]))
    text = torch.where(flag[:, None], text, 0.0)
    assert numbers(update(ModalityGap(), image, text, **{"present/text": flag})) == pytest.approx(whole, abs=1e-6)


def test_names_say_whose_embeddings_they_are():
    image, text = embeddings()
    theirs = dict(zip(("image", "text"), embeddings(5), strict=True))
    own = numbers(update(ModalityGap(), theirs["image"], theirs["text"]))
    teachers = numbers(update(ModalityGap(["teacher.image", "teacher.text"]), image, text, teacher=theirs))
    assert teachers == {f"teacher/{name}": value for name, value in own.items()}
    mixed = numbers(update(ModalityGap(["student.image", "teacher.image"]), image, text, teacher={"image": image}))
    assert mixed.keys() == {f"student_image_teacher_image_gap/{name}" for name in NAMES}
    assert mixed["student_image_teacher_image_gap/centroid_distance"] == 0
    audio = ModalityGap(["audio", "image"])
    audio.update({"audio": text, "image": image}, {}, {"id": IDS, "caption_id": torch.arange(COUNT)})
    assert audio.compute().keys() == {f"audio_image_gap/{name}" for name in NAMES}


def test_two_halves_merged_are_the_whole():
    image, text = embeddings()
    expected = numbers(update(ModalityGap(), image, text))
    first = update(ModalityGap(), image[:50], text[:50], IDS[:50], torch.arange(50))
    second = update(ModalityGap(), image[40:], text[40:], IDS[40:], torch.arange(40, COUNT))
    first.merge_state(copy.deepcopy(second))
    assert numbers(first) == pytest.approx(expected, abs=1e-6)


def on_each_rank():
    rank = torch.distributed.get_rank()
    rows = slice(0, 60) if rank == 0 else slice(55, COUNT)  # some on both
    image, text = embeddings()
    return numbers(update(ModalityGap(), image[rows], text[rows], IDS[rows], torch.arange(COUNT)[rows]))


def test_two_processes_are_one(tmp_path):
    expected = numbers(update(ModalityGap(), *embeddings()))
    for found in two_processes.run(on_each_rank, tmp_path):
        assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (["image"], r"ModalityGap.pair: \['image'\] given"),
        (["image", "image"], "two different sources"),
        ("it", "'it' given"),
        (["image", "txt"], "'txt' names no modality.*Did you mean 'text'"),
    ],
)
def test_wrong_settings_are_named(pair, message):
    with pytest.raises(InputError, match=message):
        ModalityGap(pair)


def test_what_cannot_be_measured_is_explained():
    image, text = embeddings()
    with pytest.raises(InputError, match=r"student.image is 6 wide and student.text 4"):
        update(ModalityGap(), image, text[:, :4]).compute()
    with pytest.raises(InputError, match="no two samples that differ"):
        update(ModalityGap(), image[:1], text[:1], IDS[:1]).compute()
    with pytest.raises(InputError, match="no two samples that differ"):
        update(ModalityGap(), image, text, captions=torch.zeros(COUNT, dtype=torch.long)).compute()
    with pytest.raises(InputError, match=r"no sample that has all of student\.image, student\.text"):
        update(ModalityGap(), image, text, **{"present/text": torch.zeros(COUNT, dtype=torch.bool)}).compute()
