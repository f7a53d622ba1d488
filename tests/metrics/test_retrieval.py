import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdmm.errors import InputError
from kdmm.metrics import Retrieval
from kdmm.views import stable_hash
from tests import two_processes

Row = tuple[str, int, bool, bool]  # id, caption, has an image, has a text


def rows(seed: int = 0) -> list[Row]:
    """One to four captions an image, some captions shared, some modalities missing."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for image in range(40):
        number = int(torch.randint(1, 5, (), generator=generator))
        captions = torch.randint(90, (number,), generator=generator).unique().tolist()
        found += [(f"image {image}", caption, image % 9 != 0, caption % 11 != 0) for caption in captions]
    return found


def embedding(key: str, dim: int = 8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(stable_hash(key, seed))
    return F.normalize(torch.randn(dim, generator=generator), dim=-1)


def outputs(samples: list[Row], seed: int = 0, dim: int = 8) -> dict[str, Tensor]:
    images = [embedding(sample, dim, seed) for sample, _, _, _ in samples]
    texts = [embedding(f"{sample}/{caption}", dim, seed + 1) for sample, caption, _, _ in samples]
    has_image = torch.tensor([row[2] for row in samples])
    has_text = torch.tensor([row[3] for row in samples])
    return {
        "image": torch.stack(images) * has_image[:, None],
        "text": torch.stack(texts) * has_text[:, None],
        "present/image": has_image,
        "present/text": has_text,
    }


def batches(samples: list[Row], size: int = 7) -> Iterator[tuple[dict, dict, dict]]:
    for start in range(0, len(samples), size):
        part = samples[start : start + size]
        batch = {"id": [row[0] for row in part], "caption_id": torch.tensor([row[1] for row in part])}
        yield outputs(part), outputs(part, seed=50), batch


def updated(metric: Retrieval, samples: list[Row], size: int = 7) -> Retrieval:
    for student, teacher, batch in batches(samples, size):
        metric.update(student, teacher, batch)
    return metric


def brute_force(samples: list[Row], query_seed: int = 0, gallery_seed: int = 0) -> dict[str, float]:
    """Image to text and back, pair by pair in float64."""
    paired = [row for row in samples if row[2] and row[3]]
    images = sorted({row[0] for row in paired})
    texts = sorted({row[:2] for row in paired})
    captions = {image: {row[1] for row in paired if row[0] == image} for image in images}
    scores = {
        (image, text): (
            embedding(image, seed=query_seed).double()
            @ embedding(f"{text[0]}/{text[1]}", seed=gallery_seed + 1).double()
        ).item()
        for image in images
        for text in texts
    }
    values = {}
    for name, queries, gallery in (("image_to_text", images, texts), ("text_to_image", texts, images)):
        found = []
        for query in queries:
            score = {}
            for item in gallery:
                image, text = (query, item) if name == "image_to_text" else (item, query)
                score[item] = (scores[image, text], text[1] in captions[image])
            best = max(value for value, right in score.values() if right)
            found.append(1 + sum(value >= best for value, right in score.values() if not right))
        found.sort()
        values |= {f"{name}/recall@{k}": sum(rank <= k for rank in found) / len(found) for k in (1, 5, 10)}
        values[f"{name}/median_rank"] = (found[(len(found) - 1) // 2] + found[len(found) // 2]) / 2
        values[f"{name}/mean_rank"] = sum(found) / len(found)
        values[f"{name}/queries"] = len(found)
    both = {
        f"recall@{k}": (values[f"image_to_text/recall@{k}"] + values[f"text_to_image/recall@{k}"]) / 2
        for k in (1, 5, 10)
    }
    return values | both


def numbers(values: dict[str, Tensor]) -> dict[str, float]:
    assert all(value.dtype == torch.float32 and value.shape == () for value in values.values())
    return {name: value.item() for name, value in values.items()}


def test_values_are_those_of_brute_force_with_several_and_shared_captions() -> None:
    expected = brute_force(rows())
    assert len({caption for _, caption, _, _ in rows()}) < len(rows())  # some captions are shared
    assert numbers(updated(Retrieval(), rows()).compute()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", [1, 1000])
def test_batches_do_not_matter_and_samples_that_come_again_are_dropped(size: int) -> None:
    expected = numbers(updated(Retrieval(), rows()).compute())
    again = rows() + rows()[:13] + rows()[-20:]
    assert numbers(updated(Retrieval(), again, size).compute()) == expected


def test_two_halves_merged_are_the_whole() -> None:
    expected = numbers(updated(Retrieval(), rows()).compute())
    first, second = updated(Retrieval(), rows()[:31]), updated(Retrieval(), rows()[25:])
    first.merge_state(second)
    assert numbers(first.compute()) == expected


def test_reset_forgets() -> None:
    metric = updated(Retrieval(), rows(seed=1))
    metric.reset()
    assert numbers(updated(metric, rows()).compute()) == numbers(updated(Retrieval(), rows()).compute())


def test_the_student_searches_the_teachers_index() -> None:
    found = numbers(updated(Retrieval(["student.image", "teacher.text"], k=[1, 5, 10]), rows()).compute())
    expected = brute_force(rows(), query_seed=0, gallery_seed=50)
    for direction, name in (
        ("image_to_text", "student_image_to_teacher_text"),
        ("text_to_image", "teacher_text_to_student_image"),
    ):
        for value in ("recall@1", "recall@5", "recall@10", "median_rank", "mean_rank", "queries"):
            assert found[f"{name}/{value}"] == pytest.approx(expected[f"{direction}/{value}"], rel=1e-6)
    assert len(found) == 12


def test_the_teachers_own_have_the_students_names_under_teacher() -> None:
    metric = Retrieval(["teacher.image", "teacher.text"])
    for student, _, batch in batches(rows()):
        metric.update({}, student, batch)
    expected = {f"teacher/{name}": value for name, value in numbers(updated(Retrieval(), rows()).compute()).items()}
    assert numbers(metric.compute()) == expected


def test_pairs_without_text_match_by_id() -> None:
    metric = updated(Retrieval(["student.image", "teacher.image"], k=[1]), rows())
    metric.reset()
    for student, _, batch in batches(rows()):
        metric.update(student, student, batch)
    found = numbers(metric.compute())
    assert found["student_image_to_teacher_image/recall@1"] == 1
    assert found["student_image_to_teacher_image/queries"] == len({row[0] for row in rows() if row[2]})


def test_collapsed_embeddings_have_recall_zero() -> None:
    metric = Retrieval()
    for student, teacher, batch in batches(rows()):
        constant = student | {"image": torch.ones(len(batch["id"]), 4), "text": torch.ones(len(batch["id"]), 4)}
        metric.update(constant, teacher, batch)
    found = numbers(metric.compute())
    assert found["recall@1"] == found["recall@5"] == 0


def test_bfloat16_embeddings_are_kept_as_float32() -> None:
    metric = Retrieval()
    for student, teacher, batch in batches(rows()):
        metric.update(
            student | {"image": student["image"].bfloat16(), "text": student["text"].bfloat16()}, teacher, batch
        )
    assert all(part.dtype == torch.float32 for part in metric.student_image_embedding)
    assert metric.compute()["image_to_text/queries"] > 0


def test_it_stays_usable_when_copied_and_keeps_nothing_in_the_state_dict() -> None:
    metric = updated(Retrieval(), rows())
    assert numbers(copy.deepcopy(metric).compute()) == numbers(metric.compute())
    assert not metric.state_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pair": ["image"]}, r"Retrieval.pair: \['image'\] given; give two different sources"),
        ({"pair": ["image", "image"]}, "two different sources"),
        ({"pair": ["image", "txt"]}, "'txt' names no modality; accepted are image, text, .* Did you mean 'text'"),
        ({"pair": ["pupil.image", "text"]}, "'pupil.image' is of nobody we know; write student.<modality>"),
        ({"k": [0]}, r"Retrieval.k: \[0\] given"),
    ],
)
def test_wrong_settings_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Retrieval(**arguments)


def test_a_split_without_pairs_is_named() -> None:
    metric = updated(Retrieval(), [("a", 1, True, False), ("b", 2, False, True)])
    with pytest.raises(InputError, match=r"Retrieval has seen no sample that has all of student.image, student.text"):
        metric.compute()


def test_spaces_of_different_width_are_named() -> None:
    metric = Retrieval(["student.image", "teacher.text"])
    batch = {"id": ["a", "b"], "caption_id": torch.tensor([0, 1])}
    metric.update({"image": torch.eye(2)}, {"text": torch.ones(2, 3)}, batch)
    with pytest.raises(InputError, match=r"student\.image is 2 wide and teacher.text 3: they do not share a space"):
        metric.compute()


def test_an_output_or_entry_that_is_missing_is_named() -> None:
    student, teacher, batch = next(batches(rows()))
    with pytest.raises(InputError, match=r"reads teacher.text, but the teacher gives only nothing"):
        Retrieval(["image", "teacher.text"]).update(student, {}, batch)
    with pytest.raises(InputError, match="Retrieval reads 'caption_id' from the batch"):
        Retrieval().update(student, teacher, {"id": batch["id"]})


def computed_on_two_ranks() -> dict[str, dict[str, float]]:
    rank = torch.distributed.get_rank()
    samples = rows()
    parts = {
        "unequal, with repeats": (samples[:50], samples[45:] + samples[:1]),
        "rank 1 without pairs": (samples, [("a", 1, True, False)]),
        "rank 1 without batches": (samples, []),
        "rank 0 without batches": ([], samples),
    }
    return {name: numbers(updated(Retrieval(), part[rank]).compute()) for name, part in parts.items()}


def test_two_processes_give_the_values_of_one(tmp_path: Path) -> None:
    expected = numbers(updated(Retrieval(), rows()).compute())
    for found in two_processes.run(computed_on_two_ranks, tmp_path):
        assert all(values == expected for values in found.values())
        assert len(found) == 4
