"""Floating-point operations of the quick start's runs: how many steps without a teacher cost as much as distillation.

    python experiments/quickstart/compute.py        # after run.py: it reads the teacher of fold 0

Counted are matrix products and convolutions, forward and backward for the student, forward for the teacher, whose
answers to all views and texts are computed once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kdmm
from kdmm import config, targets
from kdmm.analysis import forward_flops, training_flops

HERE = Path(__file__).parent
TEACHER = "runs/quickstart/teacher-fold0"
TEXTS = 512  # for the mean cost of a text


def built(name: str, overrides: list[str]) -> tuple[Any, Any, config.Config]:
    """Return an experiment's module, its data and its settings."""
    settings = config.load(HERE / f"{name}.yaml", overrides, ())
    data = targets.build(settings.data, "data")
    module = targets.build(settings.module, "module")
    data.use(module.online_preprocess)
    data.setup("fit")
    return module, data, settings


def per_step(name: str, overrides: list[str]) -> tuple[float, int]:
    """Return the operations of one step of the student, and the steps of the run."""
    module, data, settings = built(name, overrides)
    batch = next(iter(data.train_dataloader()))
    return training_flops(module.model, batch["student"]), settings.trainer["max_steps"]


def of_the_teacher() -> float:
    """Return the operations of all the teacher's answers: K views of each picture, and each text."""
    _, data, settings = built("student", [f"module.teacher.teacher.run={TEACHER}"])
    teacher = kdmm.load(TEACHER)
    views = range(settings.data["views"])
    pictures = sum(len(batch["id"]) for batch in data.views_loader("train", views, teacher.preprocess, 256))
    texts = data.texts(["train", "val"])
    image = next(iter(data.views_loader("train", [0], teacher.preprocess, 32)))["image"]
    tokens = teacher.preprocess.text(texts[:: len(texts) // TEXTS])
    a_picture = forward_flops(teacher, {"image": image}) / len(image)
    a_text = forward_flops(teacher, {"text": tokens}) / len(tokens)
    return pictures * a_picture + len(texts) * a_text


def main() -> None:
    """Print the operations of each run."""
    teacher = of_the_teacher()
    alone, steps = per_step("alone", [])
    print(f"the teacher's answers:      {teacher / 1e12:6.2f} TFLOP, once for all students")
    print(f"without a teacher, a step:  {alone / 1e9:6.2f} GFLOP, {steps} steps {steps * alone / 1e12:.2f} TFLOP")
    for name in ("student", "inherited"):
        step, steps = per_step(name, [f"module.teacher.teacher.run={TEACHER}"])
        whole = steps * step + teacher
        print(
            f"{name}, a step: {step / 1e9:.2f} GFLOP, {steps} steps {steps * step / 1e12:.2f} TFLOP, with the teacher "
            f"{whole / 1e12:.2f} TFLOP: as much as {whole / alone:.0f} steps without a teacher"
        )


if __name__ == "__main__":
    main()
