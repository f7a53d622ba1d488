import pytest
import torch

from kdmm.errors import InputError
from kdmm.metrics import Agreement
from tests.metrics.test_retrieval import batches, embedding, rows


def order(query: torch.Tensor, gallery: dict) -> list:
    return sorted(gallery, key=lambda key: -(query.double() @ gallery[key].double()).item())


def test_values_are_those_of_brute_force() -> None:
    samples = [(f"image {i}", 1000 + i // 2 * 2 + i % 2, i % 7 != 0, i % 5 != 0) for i in range(60)]
    metric = Agreement(k=[1, 5])
    for student, teacher, batch in batches(samples):
        metric.update(student, teacher, batch)
    for student, teacher, batch in batches(samples[:20], size=3):  # come again
        metric.update(student, teacher, batch)
    paired = [row for row in samples if row[2] and row[3]]
    spaces = []
    for seed in (0, 50):
        images = {row[0]: embedding(row[0], seed=seed) for row in paired}
        texts = {row[1]: embedding(f"{row[0]}/{row[1]}", seed=seed + 1) for row in paired}
        spaces.append((images, texts))
    found = metric.compute()
    for k in (1, 5):
        directions = []
        for query, gallery in ((0, 1), (1, 0)):
            overlaps = [
                len(
                    {*order(spaces[0][query][key], spaces[0][gallery])[:k]}
                    & {*order(spaces[1][query][key], spaces[1][gallery])[:k]}
                )
                / k
                for key in spaces[0][query]
            ]
            directions.append(sum(overlaps) / len(overlaps))
        assert found[f"agreement@{k}"] == pytest.approx(sum(directions) / 2, abs=1e-6)


def test_a_teacher_agrees_with_itself_also_with_shared_captions() -> None:
    metric = Agreement()
    for _, teacher, batch in batches(rows()):
        shared = torch.stack([embedding(f"caption {caption}") for caption in batch["caption_id"].tolist()])
        outputs = teacher | {"text": shared * teacher["present/text"][:, None]}
        metric.update(outputs, outputs, batch)
    assert metric.compute() == {"agreement@1": 1.0, "agreement@5": 1.0}


def test_only_samples_that_both_models_see_count() -> None:
    metric = Agreement(k=[1])
    for student, teacher, batch in batches(rows()):
        metric.update(student, teacher | {"present/image": torch.zeros(len(batch["id"]), dtype=torch.bool)}, batch)
    with pytest.raises(InputError, match=r"no sample that has all of student.image, student.text, teacher.image"):
        metric.compute()


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (["image", "image"], "two different modalities"),
        (["student.image", "text"], "both models are read, so name modalities only"),
        (["image", "sound"], "'teacher.sound' names no modality|'student.sound' names no modality"),
    ],
)
def test_wrong_settings_are_named(pair: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Agreement(pair)
