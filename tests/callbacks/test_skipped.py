"""What a run had to leave out is listed in it."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

import kdmm
from kdmm.errors import InputError
from tests.small_runs import experiment, folder_with_a_teacher

here = pytest.fixture(folder_with_a_teacher)


def table(rows=8):
    for number in range(rows):
        Image.new("RGB", (32, 32), (30 * number, 90, 10)).save(f"{number}.png")
    Path("2.png").write_bytes(b"no picture")
    Path("5.png").unlink()
    with Path("pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption", "split"])
        writer.writerows(
            [f"{number}.png", f"shade {number}", "val" if number > 5 else "train"] for number in range(rows)
        )
    return {"_target_": "kdmm.data.PairTable", "path": "pairs.csv", "split": "split"}


def settings(source, **data):
    tree = experiment()
    tree["data"] = {"_target_": "kdmm.data.ImageTextDataModule", "sources": source, "batch_size": 3, **data}
    return tree


def test_each_skipped_sample_is_listed_once(here):
    run = kdmm.fit(settings(table(), bad_samples="skip"))
    lines = [json.loads(line) for line in (run.dir / "skipped.jsonl").read_text().splitlines()]
    assert len(lines) == 2  # in three epochs
    assert {line["reason"] for line in lines} == {
        "2.png: this is no image that can be read",
        "5.png: there is no such file",
    }
    assert all("pairs.csv" in line["origin"] for line in lines)


def test_by_default_a_bad_sample_ends_the_run(here):
    with pytest.raises(InputError, match=r"pairs.csv.*(no image that can be read|no such file)"):
        kdmm.fit(settings(table()))
    assert not (here / "runs/small/student.safetensors").exists()
