import json

import numpy as np
import pytest
import torch
from transformers import ClapModel, ClapProcessor

from kdmm import targets
from kdmm.errors import InputError
from kdmm.models import SharedSpace
from kdmm.models.artifact import load_model, save_model
from kdmm.models.audio import AudioClip, Waveform
from kdmm.models.audio.clap import Clap, ClapAudio, ClapText
from kdmm.models.towers import AudioTower, TextTower
from tests.models.audio import tiny

TEXTS = ["A dog barks.", "rain falls on the roof", "a roof"]


@pytest.fixture(scope="module", params=[False, True], ids=["unfused", "fused"])
def folder(request, tmp_path_factory):
    made = tmp_path_factory.mktemp("clap")
    tiny.clap(made, fused=request.param)
    return made


def sounds(lengths, rate=16_000):
    return [AudioClip(0.3 * torch.randn(1, length), rate) for length in lengths]


def transformers_own(folder, clips):
    """What transformers' documentation says to do."""
    model, processor = ClapModel.from_pretrained(folder).eval(), ClapProcessor.from_pretrained(folder)
    read = processor(
        text=TEXTS,
        audio=[clip.samples[0].numpy() for clip in clips],
        sampling_rate=16_000,
        return_tensors="pt",
        padding=True,
    )
    longer = torch.zeros_like(torch.as_tensor(read["is_longer"]))  # none is, whichever its extractor picked at random
    with torch.no_grad():
        audio = model.get_audio_features(
            torch.stack([torch.as_tensor(each) for each in read["input_features"]]).float(), is_longer=longer
        )
        text = model.get_text_features(read["input_ids"], attention_mask=read["attention_mask"])
    return audio.pooler_output, text.pooler_output


def test_embeddings_are_those_of_transformers(folder):
    clips = sounds([16_000, 3700, 9000])
    audio, text = transformers_own(folder, clips)
    model = Clap(str(folder)).eval()
    batch = {
        "audio": torch.stack([model.preprocess.audio(clip) for clip in clips]),
        "text": model.preprocess.text(TEXTS),
    }
    with torch.no_grad():
        outputs = model(batch)
    torch.testing.assert_close(outputs["audio"], audio, atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs["text"], text, atol=1e-5, rtol=0)
    assert (audio @ audio.T).fill_diagonal_(-1).max() < 0.9999  # sounds that embed alike would prove nothing
    assert outputs["logit_scale"].item() == pytest.approx(np.exp(2.5), rel=1e-6)


def test_it_is_a_shared_space_that_knows_its_source(folder):
    model = Clap(str(folder), freeze=["audio"])
    assert isinstance(model, SharedSpace)
    assert model.weights_from == str(folder)
    assert model.embed_dim == 12
    assert model.preprocess.image is None
    assert model.preprocess.audio == Waveform(16_000, tiny.SECONDS, "repeat_pad")
    assert not any(each.requires_grad for each in model.towers["audio"].parameters())
    assert Clap(str(folder), weights=None).weights_from is None


def test_absent_modalities_are_zero_rows(folder):
    model = Clap(str(folder)).eval()
    flag = torch.tensor([True, False, True])
    outputs = model(
        {
            "audio": torch.randn(2, 16_000),
            "present/audio": flag,
            "text": model.preprocess.text(TEXTS),
            "present/text": torch.ones(3, dtype=torch.bool),
        }
    )
    assert outputs["audio"][1].abs().max() == 0
    torch.testing.assert_close(outputs["audio"][flag].norm(dim=1), torch.ones(2))
    assert torch.equal(outputs["present/audio"], flag)


def test_long_sounds_begin_at_the_beginning(folder):
    tower = ClapAudio(str(folder)).eval()
    (long,) = sounds([40_000])
    assert torch.equal(tower.preprocess(long), long.samples[0, :16_000])


def test_towers_alone_are_those_of_the_whole(folder):
    whole, audio, text = Clap(str(folder)).eval(), ClapAudio(str(folder)).eval(), ClapText(str(folder)).eval()
    assert isinstance(audio, AudioTower)
    assert isinstance(text, TextTower)
    waves, ids = torch.randn(2, 16_000), text.preprocess(TEXTS)
    assert torch.equal(audio(waves), whole.towers["audio"](waves))
    assert torch.equal(text(ids), whole.towers["text"](ids))
    assert audio.width == text.width == 12


def test_every_trained_weight_gets_a_gradient(folder):
    """Otherwise training on several devices fails."""
    model = Clap(str(folder)).train()
    outputs = model({"audio": torch.randn(2, 16_000), "text": model.preprocess.text(TEXTS)})
    scores = outputs["audio"] @ outputs["text"].T * outputs["logit_scale"]
    scores.square().sum().backward()
    idle = [name for name, each in model.named_parameters() if each.requires_grad and each.grad is None]
    assert not idle


def test_a_trained_model_is_one_file_and_needs_no_weights_of_the_folder(folder, tmp_path):
    tree = {"_target_": "kdmm.models.Clap", "name": str(folder), "weights": "pretrained"}
    model = targets.build(tree)
    with torch.no_grad():
        for each in model.parameters():
            each.add_(0.01)
    save_model(tmp_path / "model.safetensors", model, tree)
    loaded = load_model(tmp_path / "model.safetensors")
    batch = {"audio": torch.randn(2, 16_000), "text": model.preprocess.text(TEXTS)}
    expected, got = model.eval()(batch), loaded(batch)
    assert all(torch.equal(got[name], expected[name]) for name in expected)
    assert targets.gives(tree) == {"audio", "text", "logit_scale"}


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"Clap.name: '.*' is neither a folder with a CLAP model"):
        Clap(str(tmp_path))
    tiny.ast(tmp_path)
    with pytest.raises(InputError, match=r"'audio-spectrogram-transformer', not 'clap'.*TransformersAudio"):
        ClapAudio(str(tmp_path))


def test_lacking_weights_are_not_made_up(tmp_path):
    from safetensors.torch import load_file, save_file

    tiny.clap(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["text_projection.linear1.weight"]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"lack 1 tensors of ClapModel, first 'text_projection.linear1.weight'"):
        Clap(str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"neither a folder with the weights of ClapModel"):
        Clap(str(tmp_path))


def test_lacking_files_are_named(tmp_path):
    tiny.clap(tmp_path)
    for file in tmp_path.glob("*token*"):
        file.unlink()
    with pytest.raises(InputError, match=r"ClapText.name: .* has no tokenizer"):
        ClapText(str(tmp_path), weights=None)
    for file in tmp_path.glob("*processor_config.json"):
        file.unlink()
    with pytest.raises(InputError, match=r"ClapAudio.name.*a CLAP feature extractor"):
        ClapAudio(str(tmp_path), weights=None)


def test_extractors_that_do_not_fit_are_named(tmp_path):
    tiny.clap(tmp_path, truncation="fusion")
    with pytest.raises(InputError, match=r"`enable_fusion` False, but its feature extractor has `truncation` 'fusion'"):
        ClapAudio(str(tmp_path))
    tiny.clap(tmp_path, padding="loop")
    with pytest.raises(InputError, match=r"`padding` 'loop'; kdmm knows repeatpad, repeat, pad"):
        ClapAudio(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clapp"}))
    with pytest.raises(InputError, match=r"Clap.name"):
        Clap(str(tmp_path))
