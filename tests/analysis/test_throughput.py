from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from PIL.Image import Image
from torch import nn

from kdmm.analysis import samples_per_second
from kdmm.analysis.throughput import SENTENCE, random_batch
from kdmm.errors import InputError
from kdmm.models import Frames, Preprocess
from tests.parallel import tokens


class Clock:
    """A machine that gets slower: each round of two calls takes twice as long as the round before."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls = 0

    def run(self, seconds: float) -> None:
        self.now += seconds * 2 ** (self.calls // 2)
        self.calls += 1


class Model(nn.Module):
    def __init__(self, size: int, takes_s: float = 0.0, clock: Clock | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * size * size, 4)
        self.preprocess = Preprocess(image=lambda image: self.resize(image, size))
        self.takes_s = takes_s
        self.clock = clock or Clock()
        self.calls: list[bool] = []

    def resize(self, image: Image, size: int) -> torch.Tensor:
        assert image.mode == "RGB"
        return torch.zeros(3, size, size)

    def forward(self, batch: dict) -> dict:
        self.calls.append(self.training or torch.is_grad_enabled())
        self.clock.run(self.takes_s)
        return {"image": self.linear(batch["image"].flatten(1))}


def test_the_ratio_is_right_on_a_machine_that_slows_down(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("kdmm.analysis.throughput.time", SimpleNamespace(perf_counter=lambda: clock.now))
    models = {"slow": Model(8, 0.02, clock), "fast": Model(5, 0.005, clock)}
    models["slow"].train()
    models["fast"].eval()
    found = samples_per_second(models, batch_size=6, repeats=5)
    middle_round = 2 ** (2 + 2)  # after two rounds of warm-up and two that were measured
    assert found.samples_per_s == pytest.approx({"slow": 6 / (0.02 * middle_round), "fast": 6 / (0.005 * middle_round)})
    assert found.ratio == pytest.approx({"slow": 1, "fast": 4})
    assert models["slow"].training
    assert not models["fast"].training
    assert all(not any(model.calls) and len(model.calls) == 7 for model in models.values())


def test_no_round_begins_that_would_not_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # 0.8 s of warm-up, then rounds of 1, 2, 4, ... s, each of which is expected to be as long as the one before
    for seconds, rounds in ((0.0, 1), (2.7, 1), (2.9, 2), (5.7, 2), (5.9, 3), (1000.0, 5)):
        clock = Clock()
        monkeypatch.setattr(
            "kdmm.analysis.throughput.time", SimpleNamespace(perf_counter=lambda clock=clock: clock.now)
        )
        models = {"a": Model(8, 0.1, clock), "b": Model(8, 0.15, clock)}
        samples_per_second(models, batch_size=2, repeats=5, seconds=seconds)
        assert all(len(model.calls) == 2 + rounds for model in models.values()), seconds


def test_a_real_clock_gives_speeds() -> None:
    found = samples_per_second({"model": Model(8)}, batch_size=2, repeats=3)
    assert found.samples_per_s["model"] > 0
    assert found.ratio == {"model": 1}


def test_the_batch_has_the_form_that_models_read() -> None:
    batch = random_batch(Model(9), 4)
    assert batch["image"].shape == (4, 3, 9, 9)
    assert batch["present/image"].tolist() == [True] * 4
    assert batch["present/text"].tolist() == [False] * 4
    assert batch["id"] == ["0", "1", "2", "3"]
    assert batch["caption"] == [None] * 4


def test_a_model_without_pictures_is_measured_on_sounds() -> None:
    model = Model(4)
    model.preprocess = Preprocess(audio=lambda clip: torch.zeros(7 * clip.rate // 16_000))
    batch = random_batch(model, 3)
    assert batch["audio"].shape == (3, 7)
    assert "image" not in batch
    assert [batch[f"present/{name}"].any().item() for name in ("image", "audio", "text")] == [False, True, False]


def test_a_model_of_clips_gets_as_many_frames_as_it_reads() -> None:
    model = Model(4)
    model.preprocess = Preprocess(video=Frames(3, lambda image: torch.zeros(3, 4, 4)))
    batch = random_batch(model, 2)
    assert batch["video"].shape == (2, 3, 3, 4, 4)
    assert batch["present/video"].all()
    assert not batch["present/image"].any()


class Reader(nn.Module):
    """Reads texts, or writes about them."""

    def __init__(self, modality: str) -> None:
        super().__init__()
        self.modality = modality
        self.preprocess = Preprocess(text=self.tokens)
        self.read: list[torch.Tensor] = []

    @staticmethod
    def tokens(texts: list[str]) -> torch.Tensor:
        return torch.tensor([[len(word) for word in text.split()] for text in texts])

    @staticmethod
    def refuse(texts: list[str]) -> torch.Tensor:
        raise AssertionError("what is written is no input")

    def forward(self, batch: dict) -> dict:
        self.read.append(batch[self.modality])
        return {}


class Writing(Reader):
    """Takes a second a beam for a call."""

    def __init__(self, clock: Clock | None = None, text: Callable[[list[str]], torch.Tensor] = Reader.refuse) -> None:
        super().__init__("source")
        self.preprocess = Preprocess(source=self.tokens, text=text)
        self.clock = clock or Clock()

    def generate(self, inputs: torch.Tensor, beams: int = 1, max_tokens: int | None = None) -> list[str]:
        self.read.append(inputs)
        self.clock.now += beams
        return ["the dog", *["the cat runs home"] * (len(inputs) - 1)]

    def forward(self, batch: dict) -> dict:
        raise AssertionError("a writer writes")


def test_models_of_texts_read_a_sentence_and_those_that_write_do_so() -> None:
    models = {"reader": Reader("text"), "writer": Writing()}
    samples_per_second(models, batch_size=3, repeats=1)
    sentence = Reader.tokens([SENTENCE] * 3)
    for model in models.values():
        assert len(model.read) == 3  # two warm the model up
        assert all(torch.equal(each, sentence) for each in model.read)


@pytest.mark.parametrize("beams", [1, 4])
def test_tokens_of_what_is_written_are_counted_with_their_ends(monkeypatch: pytest.MonkeyPatch, beams: int) -> None:
    clock, text = Clock(), tokens()
    monkeypatch.setattr("kdmm.analysis.throughput.time", SimpleNamespace(perf_counter=lambda: clock.now))
    models = {"writer": Writing(clock, text), "of other tokens": Writing(clock)}
    found = samples_per_second(models, 3, 5, beams=beams)
    written = text(["the dog"]).shape[1] + 2 * text(["the cat runs home"]).shape[1]
    assert found.tokens_per_s == {"writer": pytest.approx(written / beams)}
    assert found.samples_per_s == {name: pytest.approx(3 / beams) for name in models}


def test_wrong_arguments_are_named() -> None:
    blind = Model(4)
    blind.preprocess = Preprocess()
    with pytest.raises(InputError, match="Model reads no pictures, sounds, clips or texts"):
        samples_per_second({"blind": blind})
    with pytest.raises(InputError, match=r"samples_per_second.batch_size: 0 given"):
        samples_per_second({"model": Model(4)}, batch_size=0)
    with pytest.raises(InputError, match=r"samples_per_second.repeats: -1 given"):
        samples_per_second({"model": Model(4)}, repeats=-1)
    with pytest.raises(InputError, match=r"samples_per_second.beams: 0 given"):
        samples_per_second({"model": Model(4)}, beams=0)
    with pytest.raises(InputError, match=r"samples_per_second.models: none given"):
        samples_per_second({})
