import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdmm.errors import InputError
from kdmm.metrics import TEMPLATES, ZeroShot

NAMES = ("cat", "dog", "pear", "apple", "boat", "train")


def encode_text(prompts: list[str]) -> Tensor:
    """The class's own axis, a little turned by each template."""
    rows = []
    for prompt in prompts:
        row = [float(name in prompt.split()) for name in (*NAMES, *(f"{name}." for name in NAMES))]
        rows.append([a + b for a, b in zip(row[:6], row[6:], strict=True)] + [len(prompt) / 100])
    return torch.tensor(rows)


def prepared(**arguments: object) -> ZeroShot:
    metric = ZeroShot(NAMES, **({"k": [1, 3]} | arguments))
    metric.prepare(encode_text)
    return metric


def images(num: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(num, 7, generator=generator), dim=-1), torch.randint(5, (num,), generator=generator)


def update(metric: ZeroShot, embeddings: Tensor, labels: Tensor, ids: list[str], present: Tensor | None = None) -> None:
    flags = {} if present is None else {"present/image": present}
    metric.update({"image": embeddings, **flags}, {}, {"id": ids, "label": labels})


def test_values_are_those_of_brute_force_and_classes_that_do_not_occur_do_not_count() -> None:
    embeddings, labels = images(80)
    metric, ids = prepared(), [str(i) for i in range(80)]
    for start in (0, 30, 60):
        part = slice(start, start + 30)
        update(metric, embeddings[part], labels[part], ids[part])
    update(metric, embeddings[:9], labels[:9], ids[:9])  # come again
    weights = []
    for name in NAMES:
        prompts = [encode_text([template.format(name)])[0].double() for template in TEMPLATES]
        mean = sum(prompt / prompt.norm() for prompt in prompts)
        weights.append(mean / mean.norm())
    order = (embeddings.double() @ torch.stack(weights).T).argsort(dim=1, descending=True).tolist()
    right = [label in row[:1] for row, label in zip(order, labels.tolist(), strict=True)]
    found = metric.compute()
    assert found["zero_shot/top1"] == pytest.approx(sum(right) / 80)
    top3 = sum(label in row[:3] for row, label in zip(order, labels.tolist(), strict=True)) / 80
    assert found["zero_shot/top3"] == pytest.approx(top3)
    by_class = [[ok for ok, label in zip(right, labels.tolist(), strict=True) if label == c] for c in range(5)]
    assert found["zero_shot/mean_per_class"] == pytest.approx(sum(sum(oks) / len(oks) for oks in by_class) / 5)
    assert found.keys() == {"zero_shot/top1", "zero_shot/top3", "zero_shot/mean_per_class"}


def test_the_templates_name_every_class_right() -> None:
    metric = prepared(k=[1])
    update(metric, F.normalize(torch.eye(7)[:6], dim=-1), torch.arange(6), list(NAMES))
    assert metric.compute() == {"zero_shot/top1": 1.0, "zero_shot/mean_per_class": 1.0}
    assert all(template.count("{}") == 1 for template in TEMPLATES)


def test_another_modality_has_names_of_its_own_and_the_same_values() -> None:
    embeddings, labels = images(60)
    ids = [str(i) for i in range(60)]
    pictures, sounds = prepared(), prepared(modality="audio", templates=TEMPLATES)
    update(pictures, embeddings, labels, ids)
    other = {"image": embeddings.flip(0), "audio": embeddings, "present/audio": torch.ones(60, dtype=torch.bool)}
    sounds.update(other, {}, {"id": ids, "label": labels})
    found = sounds.compute()
    assert found == {name.replace("zero_shot", "zero_shot_audio"): value for name, value in pictures.compute().items()}
    assert found.keys() == {"zero_shot_audio/top1", "zero_shot_audio/top3", "zero_shot_audio/mean_per_class"}


def test_each_class_that_occurs_has_an_accuracy_of_its_own() -> None:
    metric = prepared(k=[1], per_class=True)
    seen = torch.eye(7)[[0, 0, 1, 1, 3]]  # the third is a dog for a cat
    update(metric, seen, torch.tensor([0, 0, 0, 1, 3]), list("abcde"))
    found = metric.compute()
    accuracies = {"cat": 2 / 3, "dog": 1.0, "apple": 1.0}
    assert {name: value.item() for name, value in found.items() if "/class/" in name} == pytest.approx(
        {f"zero_shot/class/{name}": value for name, value in accuracies.items()}
    )
    assert found["zero_shot/mean_per_class"] == pytest.approx(sum(accuracies.values()) / 3)
    assert found["zero_shot/top1"] == pytest.approx(4 / 5)


def test_samples_without_a_picture_or_label_do_not_count() -> None:
    metric = prepared(k=[1])
    labels = torch.tensor([0, 1, -1])  # the last has neither picture nor label
    update(metric, torch.eye(7)[:3], labels, ["a", "b", "c"], torch.tensor([True, True, False]))
    update(metric, torch.eye(7)[:2], torch.tensor([-1, -1]), ["d", "e"])  # pictures of no class
    assert metric.compute()["zero_shot/top1"] == 1
    assert len(metric.stacked("sample")) == 2


def test_collapsed_embeddings_have_accuracy_zero() -> None:
    metric = ZeroShot(NAMES, k=[1])
    metric.prepare(lambda prompts: torch.ones(len(prompts), 4))
    update(metric, torch.ones(6, 4), torch.arange(6), list(NAMES))
    assert metric.compute() == {"zero_shot/top1": 0.0, "zero_shot/mean_per_class": 0.0}


def test_prompts_are_asked_for_before_samples_and_again_after_reset() -> None:
    metric = prepared()
    metric.reset()
    with pytest.raises(RuntimeError, match="prepare"):
        update(metric, *images(3), ["a", "b", "c"])
    metric.prepare(encode_text)
    update(metric, *images(3), ["a", "b", "c"])


def test_two_halves_merged_are_the_whole() -> None:
    embeddings, labels = images(40)
    ids = [str(i) for i in range(40)]
    whole, first, second = prepared(), prepared(), prepared()
    update(whole, embeddings, labels, ids)
    update(first, embeddings[:25], labels[:25], ids[:25])
    update(second, embeddings[20:], labels[20:], ids[20:])
    first.merge_state(second)
    assert first.compute() == whole.compute()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_names": ["cat", "dog", "cat"], "k": [1]}, "'cat' is given twice"),
        ({"class_names": ["cat", "dog", "pear"]}, r"k: \[1, 5\] given with 3 class names; top-5 would always be 1"),
        ({"class_names": NAMES, "templates": ["a photo of a {}.", "a photo"]}, r"'a photo' given; .* as one {}"),
        ({"class_names": NAMES, "templates": ["a {name}"]}, "'a {name}' given"),
        ({"class_names": NAMES, "templates": []}, "write the class name's place"),
        ({"class_names": NAMES, "modality": "adio"}, "ZeroShot.modality: 'adio' is none; .* Did you mean 'audio'"),
        ({"class_names": NAMES, "modality": "audio"}, "ZeroShot.templates: none given for 'audio'"),
    ],
)
def test_wrong_settings_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ZeroShot(**arguments)


def test_wrong_batches_are_named() -> None:
    with pytest.raises(InputError, match="labels from 2 to 6, but there are 6 class names; labels are 0 to 5"):
        update(prepared(), torch.eye(7)[:2], torch.tensor([6, 2]), ["a", "b"])
    with pytest.raises(InputError, match="ZeroShot reads 'kind' from the batch, which holds only id, label"):
        update(prepared(label="kind"), *images(1), ["a"])
    metric = prepared()
    update(metric, *images(2), ["a", "b"], torch.tensor([False, False]))
    with pytest.raises(InputError, match="seen no sample with image and a 'label'"):
        metric.compute()
