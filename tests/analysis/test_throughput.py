from types import SimpleNamespace

import pytest
import torch
from PIL.Image import Image
from torch import nn

from kdmm.analysis import samples_per_second
from kdmm.analysis.throughput import SENTENCE, random_batch
from kdmm.errors import InputError
from kdmm.models import EncoderDecoder, Frames, Memory, Preprocess, Seq2Seq
from tests.parallel import tokens

END = tokens().end


class Clock:
    """A machine that gets slower: each round of four calls, after two, takes twice as long as what was before."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls = 0

    def run(self, seconds: float) -> None:
        self.now += seconds * 2 ** ((self.calls + 2) // 4)
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
    models = {"slow": Model(8, 0.4, clock), "fast": Model(5, 0.1, clock)}
    models["slow"].train()
    models["fast"].eval()
    found = samples_per_second(models, batch_size=6, repeats=5)
    middle_round = 2**3
    assert found.samples_per_s == pytest.approx({"slow": 6 / (0.4 * middle_round), "fast": 6 / (0.1 * middle_round)})
    assert found.ratio == pytest.approx({"slow": 1, "fast": 4})
    assert models["slow"].training
    assert not models["fast"].training
    assert all(not any(model.calls) and len(model.calls) == 1 + 2 * 5 for model in models.values())


def test_no_round_begins_that_would_not_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # 0.25 s of warm-up, then rounds of 1, 2, 4, ... s, each of which is expected to be as long as the one before
    for seconds, rounds in ((0.0, 1), (2.2, 1), (2.3, 2), (5.2, 2), (5.3, 3), (1000.0, 5)):
        clock = Clock()
        monkeypatch.setattr(
            "kdmm.analysis.throughput.time", SimpleNamespace(perf_counter=lambda clock=clock: clock.now)
        )
        models = {"a": Model(8, 0.1, clock), "b": Model(8, 0.15, clock)}
        samples_per_second(models, batch_size=2, repeats=5, seconds=seconds)
        assert all(len(model.calls) == 1 + 2 * rounds for model in models.values()), seconds


def test_what_ran_before_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now, last = [0.0], [0]

    class Cold(Model):
        """Takes a second, and two more if another model has run since."""

        def forward(self, batch: dict) -> dict:
            now[0] += 1 if last[0] == id(self) else 3
            last[0] = id(self)
            return {}

    monkeypatch.setattr("kdmm.analysis.throughput.time", SimpleNamespace(perf_counter=lambda: now[0]))
    assert samples_per_second({"a": Cold(4), "b": Cold(4)}, 5, 3).samples_per_s == {"a": 5, "b": 5}


def test_a_turn_is_the_mean_of_the_calls_that_it_has_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now, calls = [0.0], iter([9.0, 9.0, 0.01, 0.03, 0.02])  # two are not measured, and three fill 50 ms

    class Uneven(Model):
        """Shares the processor with others."""

        def forward(self, batch: dict) -> dict:
            now[0] += next(calls)
            return {}

    monkeypatch.setattr("kdmm.analysis.throughput.time", SimpleNamespace(perf_counter=lambda: now[0]))
    assert samples_per_second({"a": Uneven(4)}, 1, 1).samples_per_s == {"a": pytest.approx(1 / 0.02)}
    assert not list(calls)


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
    """Takes a second to read texts."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.preprocess = Preprocess(text=self.tokens)
        self.read: list[torch.Tensor] = []

    @staticmethod
    def tokens(texts: list[str]) -> torch.Tensor:
        return torch.tensor([[len(word) for word in text.split()] for text in texts])

    def forward(self, batch: dict) -> dict:
        self.clock.now += 1
        self.read.append(batch["text"])
        return {}


class Network(EncoderDecoder):
    """Takes a second a row and step, and half a second to read; its texts would end as early as told."""

    def __init__(self, clock: Clock, ends_after: int) -> None:
        super().__init__()
        self.clock = clock
        self.ends_after = ends_after
        self.read: list[torch.Tensor] = []

    def encode(self, source: torch.Tensor, valid: torch.Tensor) -> Memory:
        self.clock.now += 0.5
        self.read.append(source)
        return Memory(source[..., None].float(), valid)

    def forward(self, memory: Memory, previous: torch.Tensor) -> dict:
        self.clock.now += len(previous)
        logits = torch.zeros(*previous.shape, 270)
        logits[:, self.ends_after :, END] = 9.0
        return {"logits": logits}


def writer(clock: Clock, ends_after: int, context_length: int = 24) -> Seq2Seq:
    both = tokens(context_length=context_length)
    return Seq2Seq(Network(clock, ends_after), both, both)


def test_models_of_texts_read_a_sentence_and_those_that_write_do_so(monkeypatch) -> None:
    clock = Clock()
    monkeypatch.setattr("kdmm.analysis.throughput.time", SimpleNamespace(perf_counter=lambda: clock.now))
    reader, writes = Reader(clock), writer(clock, 2)
    samples_per_second({"reader": reader, "writer": writes}, batch_size=3, repeats=1)
    for read, numbers in ((reader.read, Reader.tokens), (writes.network.read, writes.source)):
        assert len(read) == 3  # the last is measured
        assert all(torch.equal(each, numbers([SENTENCE] * 3)) for each in read)


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize(("shortest", "written"), [(24, 16), (9, 9)])
def test_models_write_equally_much_whatever_they_have_learned(monkeypatch, beams, shortest, written) -> None:
    clock = Clock()
    monkeypatch.setattr("kdmm.analysis.throughput.time", SimpleNamespace(perf_counter=lambda: clock.now))
    models = {"terse": writer(clock, 0), "verbose": writer(clock, 30), "short": writer(clock, 3, shortest)}
    assert len(models["terse"].generate(models["terse"].source(["heim"]))[0]) == 0
    found = samples_per_second({"reader": Model(4, 0.1, clock), **models}, 3, 2, beams=beams)
    call_s = 0.5 + 3 * beams * written
    assert found.tokens == written
    assert found.tokens_per_s == {name: pytest.approx(3 * written / call_s) for name in models}
    assert {name: found.samples_per_s[name] for name in models} == {name: pytest.approx(3 / call_s) for name in models}


def test_without_a_writer_there_are_no_tokens() -> None:
    found = samples_per_second({"model": Model(4)}, batch_size=2, repeats=1)
    assert (found.tokens, found.tokens_per_s) == (0, {})


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
