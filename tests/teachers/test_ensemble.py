import math

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

import kdmm
from kdmm import config as configuration
from kdmm.errors import InputError
from kdmm.models import Classifier, ConvImage
from kdmm.models.preprocess import ImageTransform, Preprocess
from kdmm.outputs import present, valid
from kdmm.runs.build import build
from kdmm.runs.quiet import quiet
from kdmm.teachers import Ensemble, Frozen, MovingAverage, Teacher
from kdmm.teachers.combine import joined
from kdmm.teachers.names import of_teacher
from tests.small_runs import STUDENT, experiment, folder_with_a_teacher, same, weights
from tests.teachers.test_teachers import FakeData


class Says(Teacher):
    """A teacher that says what its part of the batch holds."""

    def __init__(self, size=8):
        super().__init__()
        self.preprocess = Preprocess(image=ImageTransform(size))
        self.seen = []

    def forward(self, batch):
        return dict(batch)

    def online(self):
        return self

    def prepare(self, data, splits):
        self.seen.append(("prepare", data, list(splits)))

    def attach(self, student):
        self.seen.append(("attach", student))

    def after_step(self, student):
        self.seen.append(("after_step", student))


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(*shape, seed=0):
    return torch.nn.functional.normalize(random(*shape, seed=seed), dim=-1)


def ensemble(**settings):
    return Ensemble({"a": Says(), "b": Says(16)}, **settings)


def test_each_teacher_reads_its_own_part_of_a_batch():
    both = ensemble()
    assert {name: part.image.size for name, part in both.preprocesses.items()} == {"a": 8, "b": 16}
    answer = both.answer({"a": {"features": torch.ones(2, 3)}, "b": {"logits": torch.zeros(2, 4)}, "student": {}})
    assert set(answer) == {"a/features", "b/logits"}
    assert not answer["a/features"].requires_grad


def test_every_look_ahead_and_step_reaches_each_teacher():
    both = ensemble()
    student, data = nn.Identity(), FakeData()
    both.attach(student)
    both.prepare(data, iter(["train", "val"]))
    both.after_step(student)
    for teacher in both.each().values():
        assert teacher.seen == [("attach", student), ("prepare", data, ["train", "val"]), ("after_step", student)]
    assert both.outlasts_training
    assert not Ensemble({"a": Says(), "past": MovingAverage()}).outlasts_training
    online = both.online()
    assert online.each() == both.each()
    assert online.weights == both.weights


@pytest.mark.parametrize("weights", [None, {"a": 1, "b": 3}])
def test_inner_products_of_joined_embeddings_are_the_mean_cosines(weights):
    both = ensemble(weights=weights)
    a, b = (0.5, 0.5) if weights is None else (0.25, 0.75)
    parts = {
        name: {"image": unit(5, width, seed=width), "text": unit(5, width, seed=width + 1)}
        for name, width in (("a", 3), ("b", 6))
    }
    answer = both.answer(parts)
    assert answer["image"].shape == (5, 9)
    torch.testing.assert_close(answer["image"].norm(dim=1), torch.ones(5))
    cosines = {name: part["image"] @ part["text"].T for name, part in parts.items()}
    expected = a * cosines["a"] + b * cosines["b"]
    torch.testing.assert_close(answer["image"] @ answer["text"].T, expected, atol=1e-6, rtol=1e-6)
    assert torch.equal(answer["b/image"], parts["b"]["image"])


def test_scales_and_biases_are_means_and_equal_scales_give_the_mean_of_logits():
    both = ensemble(weights={"a": 1.0, "b": 3.0})
    parts = {
        name: {
            "image": unit(4, 3, seed=seed),
            "text": unit(4, 3, seed=seed + 1),
            "logit_scale": torch.tensor(20.0),
            "logit_bias": torch.tensor(bias),
        }
        for name, seed, bias in (("a", 0, -2.0), ("b", 5, -6.0))
    }
    answer = both.answer(parts)
    assert answer["logit_scale"] == 20
    assert answer["logit_bias"] == -5
    logits = {n: p["logit_scale"] * p["image"] @ p["text"].T + p["logit_bias"] for n, p in parts.items()}
    found = answer["logit_scale"] * answer["image"] @ answer["text"].T + answer["logit_bias"]
    torch.testing.assert_close(found, 0.25 * logits["a"] + 0.75 * logits["b"])
    del parts["b"]["logit_bias"]
    assert "logit_bias" not in both.answer(parts)


def test_a_sample_is_present_that_all_teachers_have():
    flags = {"a": torch.tensor([True, True, False]), "b": torch.tensor([True, False, True])}
    parts = {name: {"image": unit(3, 2), "present/image": flag} for name, flag in flags.items()}
    parts["a"]["image"][2] = math.nan
    answer = ensemble().answer(parts)
    assert present(answer, "image").tolist() == [True, False, False]
    assert answer["image"][1:].abs().max() == 0
    assert torch.equal(present(answer, "a/image"), flags["a"])


def test_what_not_all_teachers_say_stays_theirs():
    answer = ensemble().answer({"a": {"image": unit(3, 2), "s4": random(3, 5)}, "b": {"image": unit(3, 2, seed=1)}})
    assert set(answer) == {"a/image", "b/image", "a/s4", "image", "present/image"}


def p_of(row, temperature):
    e = [math.exp(z / temperature) for z in row]
    return [x / sum(e) for x in e]


def mean_p(rows, weights, temperature):
    each = [p_of(row, temperature) for row in rows]
    return [sum(w * p[c] for w, p in zip(weights, each, strict=True)) for c in range(len(rows[0]))]


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_logits_are_of_the_mean_of_probabilities(temperature):
    logits = {"a": 3 * random(4, 5), "b": 3 * random(4, 5, seed=1)}
    both = ensemble(temperature=temperature, weights={"a": 2, "b": 6})
    answer = both.answer({name: {"logits": x} for name, x in logits.items()})["logits"]
    for i in range(4):
        expected = mean_p([logits["a"][i].tolist(), logits["b"][i].tolist()], (0.25, 0.75), temperature)
        assert (answer[i] / temperature).softmax(0).tolist() == pytest.approx(expected, rel=1e-5)
        if temperature == 1:
            assert answer[i].exp().tolist() == pytest.approx(expected, rel=1e-5)  # log-probabilities


def test_the_more_certain_teacher_counts_more():
    logits = {
        "a": torch.tensor([[9.0, 0.0, 0.0], [1.0, 2.0, 0.0]]),
        "b": torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.5]]),
    }
    weights, temperature = (0.25, 0.75), 2.0
    both = ensemble(combine="confidence", weights={"a": 1, "b": 3}, temperature=temperature)
    answer = both.answer({name: {"logits": x} for name, x in logits.items()})["logits"]
    for i in range(2):
        rows = [logits["a"][i].tolist(), logits["b"][i].tolist()]
        entropies = [-sum(p * math.log(p) for p in p_of(row, temperature)) for row in rows]
        raw = [w * math.exp(-h) for w, h in zip(weights, entropies, strict=True)]
        expected = mean_p(rows, [w / sum(raw) for w in raw], temperature)
        assert (answer[i] / temperature).softmax(0).tolist() == pytest.approx(expected, rel=1e-5)
    # a perplexity of 1 against one of 3, weights 1 to 3: a certain teacher counts as much as an ignorant one
    certain = ensemble(combine="confidence", weights={"a": 1, "b": 3})
    parts = {"a": {"logits": torch.tensor([[100.0, 0, 0]])}, "b": {"logits": torch.zeros(1, 3)}}
    assert certain.answer(parts)["logits"].exp()[0].tolist() == pytest.approx([0.5 + 0.5 / 3, 0.5 / 3, 0.5 / 3])


def test_each_teacher_has_a_temperature_of_its_own():
    logits = {"a": 3 * random(4, 5), "b": 3 * random(4, 5, seed=1)}
    both = ensemble(temperatures={"a": 2.0, "b": 0.5})
    parts = {name: {"logits": x, "logit_scale": torch.tensor(10.0)} for name, x in logits.items()}
    answer = both.answer(parts)
    for i in range(4):
        each = [p_of(logits["a"][i].tolist(), 2.0), p_of(logits["b"][i].tolist(), 0.5)]
        expected = [(a + b) / 2 for a, b in zip(*each, strict=True)]
        assert answer["logits"][i].exp().tolist() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(answer["a/logits"], logits["a"] / 2)
    assert (answer["a/logit_scale"], answer["b/logit_scale"], answer["logit_scale"]) == (5, 20, 12.5)
    assert both.online().temperatures == both.temperatures


@pytest.mark.parametrize("combine", ["mean", "confidence"])
@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 5), (2, 5, 3, 4)])
def test_equal_teachers_are_one_at_any_temperature_and_shape(combine, shape):
    logits = 5 * random(*shape)
    dim = 1 if len(shape) == 4 else -1
    for temperature in (1.0, 3.0):
        both = ensemble(combine=combine, temperature=temperature)
        answer = both.answer({"a": {"logits": logits}, "b": {"logits": logits}})["logits"]
        for other in (0.5, 1.0, 7.0):
            torch.testing.assert_close((answer / other).softmax(dim), (logits / other).softmax(dim))


def test_classes_ruled_out_and_half_precision():
    out = torch.tensor([[0.0, 1.0, -math.inf]])
    answer = ensemble(combine="confidence").answer({"a": {"logits": out}, "b": {"logits": out}})["logits"]
    assert answer.softmax(1)[0].tolist() == pytest.approx(out.softmax(1)[0].tolist())
    half = ensemble().answer({"a": {"logits": random(2, 3).half()}, "b": {"logits": random(2, 3).half()}})
    assert half["logits"].dtype == torch.float32


def test_places_count_that_count_for_all_teachers():
    flags = {"a": torch.tensor([[True, True, False]]), "b": torch.tensor([[True, False, False]])}
    parts = {name: {"logits": random(1, 3, 4), "valid/logits": flag} for name, flag in flags.items()}
    answer = ensemble().answer(parts)
    assert valid(answer, "logits").tolist() == [[True, False, False]]
    assert torch.equal(valid(answer, "a/logits"), flags["a"])


def test_one_teachers_part_of_what_is_said():
    parts = {
        "a": {"logits": random(2, 3), "present/logits": torch.tensor([True, False])},
        "b": {"logits": random(2, 3)},
    }
    answer = ensemble().answer(parts)
    again = of_teacher(answer, "a")
    assert set(again) == {"logits", "present/logits"}
    assert torch.equal(again["logits"], parts["a"]["logits"])
    with pytest.raises(InputError, match=r"called 'aa'.*a, b.*Did you mean 'a'"):
        of_teacher(answer, "aa")
    with pytest.raises(InputError, match="there is no ensemble"):
        of_teacher(parts["b"], "a")


def test_other_classes_are_named():
    parts = {"a": {"logits": random(2, 3)}, "b": {"logits": random(2, 4)}}
    with pytest.raises(InputError, match=r"\(2, 3\) of a, \(2, 4\) of b.*'a/logits'"):
        ensemble().answer(parts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"teachers": {}}, "none are given"),
        ({"teachers": {"student": Says()}}, "called 'student'"),
        ({"teachers": {"a-b": Says()}}, "called 'a-b'"),
        ({"teachers": {"keys": Says()}}, "called 'keys'"),
        ({"teachers": {"a": Ensemble({"b": Says()})}}, "is an ensemble itself"),
        ({"weights": {"a": 1}}, "none is given for 'b'"),
        ({"weights": {"a": 1, "b": 1, "c": 1}}, "no teacher is called 'c'"),
        ({"weights": {"a": 1, "b": 0}}, "0 is given for 'b'"),
        ({"temperature": 0.0}, r"temperature is 0\.0"),
        ({"temperatures": {"a": 1}}, r"temperatures: none is given for 'b'"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    given = {"teachers": {"a": Says(), "b": Says()}, **arguments}
    with pytest.raises(InputError, match=message):
        Ensemble(**given)


def test_running_teachers_move_and_stay_frozen():
    each = {name: Frozen(Classifier(ConvImage([4], 8), 3)) for name in ("a", "b")}
    both = Ensemble(each).train().to(torch.float64)
    assert each["a"].model.head.weight.dtype == torch.float64
    assert not list(both.parameters())
    assert not both.state_dict()
    assert not each["a"].model.training
    image = random(2, 3, 8, 8).double()
    answer = both.answer({"a": {"image": image}, "b": {"image": image}})
    assert {"logits", "a/logits", "a/features", "present/logits"} <= set(answer)


def test_joined_embeddings_of_one_teacher_are_its_own():
    x = unit(3, 4)
    assert torch.equal(joined([x], torch.ones(1)), x)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return folder_with_a_teacher(tmp_path, monkeypatch)


def test_teachers_of_two_preprocessings_are_left_as_they_were(folder):
    tree = experiment()
    wide = {**STUDENT, "image": {**STUDENT["image"], "image_size": 48}, "embed_dim": 12}
    first = experiment("wide")
    first["module"]["student"] = wide
    first["trainer"]["max_epochs"] = 1
    kdmm.fit(first)
    runs = {"a": "runs/teacher", "b": "runs/wide"}
    before = {name: weights(run) for name, run in runs.items()}
    teachers = {name: {"_target_": "kdmm.teachers.FromRun", "run": run} for name, run in runs.items()}
    tree["module"]["teacher"] = {"_target_": "kdmm.teachers.Ensemble", "teachers": teachers}
    tree["module"]["objective"]["terms"]["both"] = {"_target_": "kdmm.losses.Affinity", "pair": ["image", "text"]}
    tree["module"]["objective"]["weights"]["both"] = 1.0
    tree["trainer"]["max_epochs"] = 1
    run = kdmm.fit(tree)
    assert {"val/teacher/recall@5", "val/agreement@5", "val/retention/recall@5"} <= set(run.metrics)
    assert "test/teacher/recall@5" in kdmm.evaluate(run.dir)
    state = torch.load(run.dir / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert not any(name.startswith("teacher") for name in state)

    module, data = build(configuration.load(tree, (), ()), ())
    batch = data.dry_batch(module.online_preprocess)
    assert (batch["a"]["image"].shape[-1], batch["b"]["image"].shape[-1]) == (32, 48)
    trainer = pl.Trainer(max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
                         limit_val_batches=0)  # fmt: skip
    with quiet():
        trainer.fit(module, datamodule=data)
    for name, teacher in module.teacher.each().items():
        assert same(teacher.model.state_dict(), before[name])
        assert not any(part.training for part in teacher.model.modules())
