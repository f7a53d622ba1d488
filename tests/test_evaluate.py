"""Measuring finished runs: every caption of a picture counts, class names classify, the loss is left out."""

import json
from pathlib import Path

import pytest
import torch

import kdmm
from kdmm.data import CocoCaptions, Emoji
from kdmm.data.batches import caption_hash
from kdmm.errors import InputError
from kdmm.metrics import TEMPLATES
from kdmm.models import embed_images, embed_texts
from tests.data.files import picture
from tests.hooks import command
from tests.small_runs import STUDENT, experiment, folder_with_a_teacher

here = pytest.fixture(folder_with_a_teacher)

SHARED = "Two pictures have this caption"


def captions_of(number):
    """One to five captions, one of them shared; of some pictures none."""
    if number % 9 == 4:
        return []
    found = [f"picture {number}, seen as {k}" for k in range(1 + number % 5)]
    return [*found[:-1], SHARED] if number % 10 in (1, 3) else found


def karpathy(trained=20, validated=23):
    """Write pictures with their captions in Karpathy's form."""
    rows = []
    Path("pictures").mkdir()
    for number in range(trained + validated):
        picture(number, (32, 32)).save(f"pictures/{number}.png")
        sentences = [{"raw": caption.upper() if k % 2 else caption} for k, caption in enumerate(captions_of(number))]
        split = "train" if number < trained else "val"
        rows.append({"filename": f"{number}.png", "imgid": number, "split": split, "sentences": sentences})
    Path("dataset.json").write_text(json.dumps({"images": rows}))
    return {"_target_": "kdmm.data.CocoCaptions", "annotations": "dataset.json", "images": "pictures"}


def several_captions(name, precomputed=False, **trainer):
    tree = experiment(name, precomputed)
    tree["data"] = {
        "_target_": "kdmm.data.ImageTextDataModule",
        "sources": karpathy(),
        "batch_size": 5,
        "eval_batch_size": 4,
        "views": 2,
    }
    tree["trainer"] |= {"max_epochs": 1, **trainer}
    return tree


def brute_force(model):
    """Retrieval by loops over every picture and every caption of the val split."""
    samples = [each for each in CocoCaptions("dataset.json", "pictures").samples("val") if each.captions]
    texts = [(row, caption) for row, sample in enumerate(samples) for caption in sample.captions]
    images = embed_images(model, [sample.image.open() for sample in samples]).double()
    scores = (images @ embed_texts(model, [caption for _, caption in texts]).double().T).tolist()
    known = [{caption_hash(caption) for caption in sample.captions} for sample in samples]
    right = [[caption_hash(caption) in known[row] for _, caption in texts] for row in range(len(samples))]
    values = {}
    for name, table, marks in (
        ("image_to_text", scores, right),
        ("text_to_image", list(zip(*scores, strict=True)), list(zip(*right, strict=True))),
    ):
        ranks = []
        for row, flags in zip(table, marks, strict=True):
            best = max(score for score, flag in zip(row, flags, strict=True) if flag)
            ranks.append(1 + sum(score >= best for score, flag in zip(row, flags, strict=True) if not flag))
        values |= {f"val/{name}/recall@{k}": sum(rank <= k for rank in ranks) / len(ranks) for k in (1, 5, 10)}
        values[f"val/{name}/mean_rank"] = sum(ranks) / len(ranks)
        values[f"val/{name}/queries"] = len(ranks)
    return values


def assert_brute_force(run):
    expected = brute_force(run.model)
    assert {name: run.metrics[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    paired = [captions_of(number) for number in range(20, 43) if captions_of(number)]
    assert expected["val/image_to_text/queries"] == len(paired)
    assert expected["val/text_to_image/queries"] == sum(map(len, paired)) > 2 * len(paired)
    assert sum(captions.count(SHARED) for captions in paired) > 1


@pytest.mark.parametrize("precomputed", [False, True])
def test_every_caption_of_a_picture_is_a_query_and_right(here, precomputed):
    run = kdmm.fit(several_captions("one", precomputed))
    assert_brute_force(run)
    again = kdmm.evaluate(run.dir, split="val")  # the teacher runs
    assert {name: run.metrics[name] for name in again} == pytest.approx(again, rel=1e-5)


@pytest.mark.slow
def test_every_caption_counts_on_two_processes(here):
    tree = several_captions("two", devices=2, strategy="ddp")
    Path("two.yaml").write_text(json.dumps(tree))
    done = command("fit", "two.yaml")
    assert done.returncode == 0, done.stderr[-2000:]
    run = kdmm.run.Run(Path("runs/two"))
    assert_brute_force(run)
    again = kdmm.evaluate(run.dir, split="val")  # by one process
    assert {name: run.metrics[name] for name in again} == pytest.approx(again, rel=1e-5)


def test_class_names_classify_pictures_of_a_labelled_source(here):
    names = list(Emoji.categories())
    tree = experiment()
    tree["data"]["sources"] = {"_target_": "kdmm.data.Emoji", "groups": names[:4]}
    zero_shot = {"_target_": "kdmm.metrics.ZeroShot", "class_names": names, "label": "category", "k": [1, 3]}
    tree["module"]["metrics"] = {"zero_shot": zero_shot}
    run = kdmm.fit(tree)
    samples = Emoji(groups=names[:4]).samples("val")
    images = embed_images(run.model, [sample.image.open() for sample in samples]).double()
    weights = []
    for name in names:
        prompts = embed_texts(run.model, [template.format(name) for template in TEMPLATES]).double()
        mean = (prompts / prompts.norm(dim=1, keepdim=True)).mean(0)
        weights.append(mean / mean.norm())
    best = (images @ torch.stack(weights).T).argsort(dim=1, descending=True).tolist()
    labels = [sample.labels["category"] for sample in samples]
    for k in (1, 3):
        found = sum(label in order[:k] for label, order in zip(labels, best, strict=True)) / len(labels)
        assert run.metrics[f"val/zero_shot/top{k}"] == pytest.approx(found)
    assert 0 < run.metrics["val/zero_shot/top3"] < 1
    assert kdmm.evaluate(run.dir)["test/zero_shot/top1"] >= 0


def test_the_loss_is_left_out_where_the_terms_parameters_are_gone(here):
    tree = experiment()
    tree["module"]["student"] = {**STUDENT, "embed_dim": 6}  # the teacher's is 8: FeatureMatch has an adapter
    run = kdmm.fit(tree)
    assert run.metrics["val/loss"] > 0
    found = kdmm.evaluate(run.dir, split="val")
    assert not [name for name in found if "loss" in name]
    assert {name: run.metrics[name] for name in found} == pytest.approx(found, rel=1e-5)
    record = kdmm.run.Run(run.dir).record
    assert (record.split, record.metrics["val/loss"]) == ("val", run.metrics["val/loss"])


def test_a_run_without_a_val_split_is_measured_on_its_test_split(here):
    tree = several_captions("unmeasured")
    content = Path("dataset.json").read_text()
    Path("dataset.json").write_text(content.replace('"val"', '"test"'))
    run = kdmm.fit(tree)
    assert run.record.data is None
    with pytest.raises(InputError, match="'unmeasured' holds no evaluation"):
        kdmm.report([run.dir], speed=False)
    with pytest.raises(InputError, match="no val split"):
        kdmm.evaluate(run.dir, split="val")
    with pytest.raises(InputError, match=r"'tests'; accepted: val, test\. Did you mean 'test'"):
        kdmm.evaluate(run.dir, split="tests")
    found = kdmm.evaluate(run.dir)
    record = kdmm.run.Run(run.dir).record
    assert (record.split, record.evaluated.samples) == ("test", 23)
    assert record.evaluated.counts["captions"] == found["test/text_to_image/queries"]
    assert "test split" in kdmm.report([run.dir], speed=False).to_markdown()
