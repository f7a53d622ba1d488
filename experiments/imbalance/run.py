"""Classes of unequal size and modalities that lie apart, made on purpose, and what answers them; over five folds.

python experiments/imbalance/run.py
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

import kdmm
from kdmm import config, targets
from kdmm.analysis import against
from kdmm.data.batches import caption_hash
from kdmm.metrics import ModalityGap, Retrieval
from kdmm.models import Shifted, embed_media, embed_texts

HERE = Path(__file__).parent
HARD = "module.objective.terms.hard"
COUNTS = "counts: {_target_: kdmm.data.ClassCounts, source: '${data.sources}', label: digit}, label: digit}"
TAIL = "{_target_: kdmm.data.LongTailed, source: {_target_: kdmm.data.Digits, fold: FOLD}, ratio: 50, label: digit}"
CLASSES = {
    "plain": [f"data.sources={TAIL}"],
    "balanced sampling": [f"data.sources={{_target_: kdmm.data.Balanced, source: {TAIL}, label: digit}}"],
    "class-balanced loss": [f"data.sources={TAIL}", f"{HARD}={{_target_: kdmm.losses.ClassBalanced, {COUNTS}"],
    "logit adjustment": [f"data.sources={TAIL}", f"{HARD}={{_target_: kdmm.losses.LogitAdjusted, {COUNTS}"],
}
GAP = {
    "contrastive": [],
    "gap loss, weight 1": ["module.objective.weights.gap=1.0"],
    "gap loss, weight 10": ["module.objective.weights.gap=10.0"],
    "temperature 0.5 at the start": ["module.student.init_temperature=0.5"],
}
MEASURED = {
    "classes": ["test/mean_per_class", "test/top1"],
    "gap": ["test/image_text_gap/centroid_distance", "test/image_text_gap/separability", "test/recall@5"],
}
Found = dict[str, dict[str, dict[int, float]]]


def fit(data: str, row: str, fold: int, changes: Sequence[str]) -> kdmm.Run:
    """Run one experiment and measure it on its test fold, unless that is done already."""
    name = f"imbalance/{data}-{row.replace(' ', '-').replace(',', '')}-fold{fold}"
    changes = [change.replace("FOLD", str(fold)) for change in changes]
    fixed = [f"name={name}", f"seed={fold}", f"description={row!r}", "trainer.enable_progress_bar=false"]
    return kdmm.complete(HERE / f"{data}.yaml", [*fixed, *changes])


@torch.no_grad()
def shifted(run: kdmm.Run) -> Mapping[str, float]:
    """Return what a run's model measures on its test fold when its modalities are moved onto each other."""
    settings = config.load(run.dir / "config.yaml", ())
    source = targets.build(settings.data["sources"]["pairs"], path="data.sources.pairs")
    train, test = source.samples("train"), source.samples("test")
    model = Shifted(run.model, ["image", "text"], run.model.embed_dim).eval()
    model.set_centroids(
        {
            "image": embed_media(run.model, "image", [sample.image.open() for sample in train]),
            "text": embed_texts(run.model, [sample.captions[0] for sample in train]),
        }
    )
    pictures = torch.stack([model.preprocess.image(sample.image.open()) for sample in test])
    captions = [sample.captions[0] for sample in test]
    outputs = model({"image": pictures, "text": model.preprocess.text(captions)})
    batch = {
        "id": [sample.id for sample in test],
        "caption_id": torch.tensor([caption_hash(each) for each in captions]),
    }
    found: dict[str, float] = {}
    for metric in (ModalityGap(["image", "text"]), Retrieval()):
        metric.update(outputs, {}, batch)
        found |= {f"test/{name}": float(value) for name, value in metric.compute().items()}
    return found


def compare(data: str, rows: Mapping[str, Sequence[str]], folds: Sequence[int]) -> list[str]:
    """Run all rows on all folds; return a table a metric."""
    baseline = next(iter(rows))
    found: Found = {metric: {} for metric in MEASURED[data]}
    for fold in folds:
        own = [f"data.sources.pairs.source.fold={fold}"] if data == "gap" else []
        for row, changes in rows.items():
            run = fit(data, row, fold, [*own, *changes])
            measured = {row: run.metrics}
            if data == "gap" and row == baseline:
                measured["shifted after training"] = shifted(run)
            for name, values in measured.items():
                for metric, each in found.items():
                    each.setdefault(name, {})[fold] = values[metric]
                print(data, name, fold, {metric: round(values[metric], 3) for metric in found}, flush=True)
    folds_said = f"mean of {len(folds)} folds"
    return [against(f"{metric} x 100, {folds_said}", each, baseline).to_markdown() for metric, each in found.items()]


def main() -> None:
    """Run what the command line asks for, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="test parts, 0 to 4")
    arguments = parser.parse_args()
    tables = compare("classes", CLASSES, arguments.folds) + compare("gap", GAP, arguments.folds)
    output = Path("runs/imbalance/tables.md")
    output.write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    print("\n\n".join(tables), f"\nwritten to {output}")


if __name__ == "__main__":
    main()
