from pathlib import Path
from typing import Any

from kdmm.analysis import DataRecord, ParameterCount, RunRecord


def record(name: str, recall: float = 0.2, **changes: Any) -> RunRecord:
    """A run with 100 images and 300 captions, whose every recall follows from one number."""
    metrics = {"val/recall@5": 0.9, "test/loss": 1.5, "test/recall@5": recall, "test/agreement@1": 0.4}
    for direction, shift in (("image_to_text", 0.01), ("text_to_image", -0.01)):
        metrics |= {f"test/{direction}/recall@{k}": recall * k / 5 + shift for k in (1, 5, 10)}
        metrics |= {f"test/{direction}/median_rank": 14.5, f"test/{direction}/mean_rank": 20.0}
    metrics |= {"test/image_to_text/queries": 100.0, "test/text_to_image/queries": 300.0}
    arguments = {
        "name": name,
        "role": "student",
        "split": "test",
        "metrics": metrics | changes.pop("metrics", {}),
        "parameters": ParameterCount(2_450_000, 450_000),
        "size_bytes": 9_800_000,
        "data": DataRecord("emoji", 320, changes.pop("fold", None)),
        "seed": 0,
        "steps": 100,
        "wall_time_s": 12.5,
    }
    return RunRecord(**(arguments | changes))


def write(folder: Path, run: RunRecord) -> Path:
    (folder / run.name).mkdir()
    run.write(folder / run.name)
    return folder / run.name
