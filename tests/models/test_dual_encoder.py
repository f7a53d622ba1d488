import json
import shutil

import open_clip
import pytest
import torch
from PIL import Image

from kdmm.errors import InputError
from kdmm.models import (
    BagOfTokens,
    DualEncoder,
    OpenClip,
    OpenClipTokens,
    Tapped,
    TimmImage,
    TransformerText,
    TransformerTokens,
    embed_images,
    embed_texts,
    load_model,
    save_model,
)
from tests.conftest import LITE0, MINILM

TREE = {
    "_target_": "kdmm.models.DualEncoder",
    "image": {"_target_": "kdmm.models.TimmImage", "name": "tf_efficientnet_lite0", "image_size": 32, "stages": 2},
    "text": {"_target_": "kdmm.models.BagOfTokens", "tokenizer": MINILM, "embedding_width": 8},
    "embed_dim": 16,
}


def small(**settings):
    image = TimmImage("tf_efficientnet_lite0", 32, stages=2)
    return DualEncoder(image, BagOfTokens(MINILM, 8), embed_dim=16, **settings)


def test_missing_modalities_are_zero_rows_and_marked():
    model = small().eval()
    image, text = torch.randn(2, 3, 32, 32), model.preprocess.text(["a cat", "a dog", "a tree"])
    flags = {"present/image": torch.tensor([1, 0, 1, 0]).bool(), "present/text": torch.tensor([1, 1, 0, 1]).bool()}
    outputs = model({"image": image, "text": text, **flags})
    alone = model({"image": image, "text": text})
    torch.testing.assert_close(outputs["image"][[0, 2]], alone["image"])
    torch.testing.assert_close(outputs["text"][[0, 1, 3]], alone["text"])
    assert outputs["image"][[1, 3]].abs().max() == 0
    assert outputs["text"][2].abs().max() == 0
    torch.testing.assert_close(alone["image"].norm(dim=1), torch.ones(2))


def test_a_modality_absent_from_the_whole_batch():
    model = small()
    flags = {"present/image": torch.ones(2).bool(), "present/text": torch.zeros(2).bool()}
    outputs = model({"image": torch.randn(2, 3, 32, 32), **flags})
    assert outputs["text"].shape == (2, 16)
    assert outputs["text"].abs().max() == 0


def test_scale_is_exponentiated_and_clamped():
    model = small(init_temperature=0.05)
    text = model.preprocess.text(["a"])
    assert model({"text": text})["logit_scale"].item() == pytest.approx(20, rel=1e-5)
    model.log_logit_scale.data.fill_(50.0)
    assert model({"text": text})["logit_scale"].item() == 100.0
    assert small(init_logit_bias=-10.0)({"text": text})["logit_bias"].item() == -10.0
    assert "logit_bias" not in model({"text": text})


def test_embeddings_are_float32_under_autocast():
    model = small().eval()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model({"image": torch.randn(2, 3, 32, 32)})
    assert outputs["image"].dtype == torch.float32
    torch.testing.assert_close(outputs["image"].norm(dim=1), torch.ones(2))


def test_frozen_towers_do_not_move_while_projections_do():
    model = DualEncoder(
        TimmImage("tf_efficientnet_lite0", 32, weights=LITE0), TransformerText(MINILM), 16, freeze=["image", "text"]
    ).train()
    before = {name: value.clone() for name, value in model.towers.state_dict().items()}
    outputs = model({"image": torch.randn(3, 3, 32, 32), "text": model.preprocess.text(["a", "b", "c"])})
    (outputs["image"] * outputs["text"]).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.towers.state_dict().items())
    assert all(p.grad is None for p in model.towers.parameters())
    assert all(p.grad.abs().sum() > 0 for p in model.projections.parameters())


def test_unknown_frozen_tower_and_widths_that_differ():
    with pytest.raises(InputError, match=r"'imag' is no tower\. Did you mean 'image'"):
        small(freeze=["imag"])
    with pytest.raises(InputError, match="embed_dim"):
        DualEncoder(TimmImage("tf_efficientnet_lite0", 32, stages=2), BagOfTokens(MINILM, 8))


def test_a_model_file_gives_the_model_back_without_pickle(tmp_path):
    model = small().eval()
    save_model(tmp_path / "m.safetensors", model, TREE)
    again = load_model(tmp_path / "m.safetensors")
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(again({"image": image})["image"], model({"image": image})["image"])
    assert again.preprocess == model.preprocess
    assert not again.training
    assert again.weights_from == str(tmp_path / "m.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_damaged_and_foreign_model_files_are_named(tmp_path):
    save_model(tmp_path / "m.safetensors", small(), TREE)
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "m.safetensors").read_bytes()[:1000])
    with pytest.raises(InputError, match="is damaged"):
        load_model(tmp_path / "cut.safetensors")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="does not say which model"):
        load_model(tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="is no file"):
        load_model(tmp_path / "none.safetensors")


@pytest.fixture(scope="module")
def tiny_open_clip(tmp_path_factory):
    """A small open_clip architecture, as a file that open_clip's registry reads, with weights saved by open_clip."""
    folder = tmp_path_factory.mktemp("open_clip")
    cfg = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    (folder / "tiny-test.json").write_text(json.dumps(cfg))
    open_clip.add_model_config(folder / "tiny-test.json")
    reference = open_clip.create_model("tiny-test").eval()
    torch.save(reference.state_dict(), folder / "weights.pt")
    (folder / "local").mkdir()
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "resize_mode": "squash"}
    (folder / "local" / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": cfg, "preprocess_cfg": preprocess})
    )
    torch.save(reference.state_dict(), folder / "local" / "open_clip_pytorch_model.bin")
    return folder, reference


@pytest.mark.parametrize("kind", ["checkpoint", "local-dir"])
def test_open_clip_models_give_open_clips_embeddings(tiny_open_clip, kind):
    folder, reference = tiny_open_clip
    if kind == "checkpoint":
        model = OpenClip("tiny-test", weights=str(folder / "weights.pt")).eval()
    else:
        model = OpenClip(f"local-dir:{folder / 'local'}").eval()
    image = torch.randn(2, 3, 32, 32)
    text = open_clip.get_tokenizer("tiny-test")(["a cat", "two dogs"])
    read = model.preprocess.text(["a cat", "two dogs"])
    outputs = model({"image": image, "text": read})
    with torch.no_grad():
        torch.testing.assert_close(outputs["image"], reference.encode_image(image, normalize=True))
        torch.testing.assert_close(outputs["text"], reference.encode_text(text, normalize=True))
        torch.testing.assert_close(outputs["logit_scale"], reference.logit_scale.exp())
    assert model.weights_from is not None
    assert model.preprocess.image.mean == ((0.5, 0.5, 0.5) if kind == "local-dir" else open_clip.OPENAI_DATASET_MEAN)


@pytest.mark.parametrize(
    ("settings", "length"),
    [
        ({}, 12),
        ({"pool_type": "eos", "eos_id": 49407}, 12),
        ({"pool_type": "last"}, 77),
        ({"no_causal_mask": True}, 77),
        ({"embed_cls": True}, 77),
    ],
)
def test_a_text_is_cut_where_its_tower_reads_no_further(tmp_path, settings, length):
    text_cfg = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2, **settings}
    vision_cfg = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
    name = f"cut-{length}-{'-'.join(settings)}"
    (tmp_path / f"{name}.json").write_text(
        json.dumps({"embed_dim": 16, "vision_cfg": vision_cfg, "text_cfg": text_cfg})
    )
    open_clip.add_model_config(tmp_path / f"{name}.json")
    reference = open_clip.create_model(name, force_custom_text=True)
    torch.save(reference.state_dict(), tmp_path / "weights.pt")
    model = OpenClip(name, weights=str(tmp_path / "weights.pt"))
    texts = ["a cat", "", "two dogs that run along a beach behind a ball", "a cat"]
    read = model.preprocess.text(texts)
    assert read.shape == (4, length)
    assert torch.equal(model.preprocess.text(texts), read)  # from memory
    own, theirs = model.towers["text"].double(), reference.text.double()
    found, whole = own(read), theirs(open_clip.get_tokenizer(name)(texts))
    torch.testing.assert_close(found, whole)
    towards = torch.randn_like(found)
    (found * towards).sum().backward()
    (whole * towards).sum().backward()
    parameters = dict(theirs.named_parameters())
    for parameter, value in own.text.named_parameters():
        torch.testing.assert_close(value.grad, parameters[parameter].grad)


def test_the_states_of_open_clips_tokens_can_be_tapped(tiny_open_clip):
    folder, reference = tiny_open_clip
    model = Tapped(OpenClip("tiny-test", weights=str(folder / "weights.pt")), {"tokens": "towers.text.states"}).eval()
    texts = ["a cat", "two dogs that run along a beach"]
    outputs = model({"text": model.preprocess.text(texts)})
    padded = open_clip.get_tokenizer("tiny-test")(texts)
    lengths = padded.argmax(1) + 1
    assert outputs["valid/tokens"].tolist() == [[n < length for n in range(int(lengths.max()))] for length in lengths]
    with torch.no_grad():
        states = reference.token_embedding(padded) + reference.positional_embedding
        states = reference.ln_final(reference.transformer(states, attn_mask=reference.attn_mask))
        torch.testing.assert_close(outputs["tokens"], states[:, : int(lengths.max())])
        torch.testing.assert_close(outputs["text"], reference.encode_text(padded, normalize=True))


def test_cocas_answers_are_open_clips(tmp_path):
    text_cfg = {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1, "embed_cls": True}
    vision_cfg = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16, "output_tokens": True}
    vision_cfg |= {"attentional_pool": True, "attn_pooler_heads": 2}
    decoder = {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    settings = {"embed_dim": 16, "vision_cfg": vision_cfg, "text_cfg": {**text_cfg, "output_tokens": True}}
    (tmp_path / "coca-tiny.json").write_text(json.dumps({**settings, "multimodal_cfg": decoder, "custom_text": True}))
    open_clip.add_model_config(tmp_path / "coca-tiny.json")
    reference = open_clip.create_model("coca-tiny").eval()
    torch.save(reference.state_dict(), tmp_path / "weights.pt")
    model = OpenClip("coca-tiny", weights=str(tmp_path / "weights.pt")).eval()
    image, texts = torch.randn(2, 3, 32, 32), ["a cat", "two dogs"]
    with torch.no_grad():
        outputs = model({"image": image, "text": model.preprocess.text(texts)})
        torch.testing.assert_close(outputs["image"], reference.encode_image(image, normalize=True))
        text = open_clip.get_tokenizer("coca-tiny")(texts)
        torch.testing.assert_close(outputs["text"], reference.encode_text(text, normalize=True))


def test_a_text_that_fills_the_context_is_cut_to_it():
    tokens = OpenClipTokens("ViT-B-32")([" ".join(["cat"] * 200)])
    assert torch.equal(tokens, open_clip.get_tokenizer("ViT-B-32")([" ".join(["cat"] * 200)]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "ViT-B-33"}, "Did you mean 'ViT-B-3"),
        ({"architecture": "ViT-B-32", "weights": "laion2b_s34b_b79"}, "neither a file nor one of the tags"),
        ({"architecture": "s3:bucket"}, "begins with neither"),
        ({"architecture": "local-dir:nowhere"}, "could not be loaded"),
        ({"architecture": "local-dir:nowhere", "weights": "x"}, "brings its own weights"),
    ],
)
def test_wrong_open_clip_model_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        OpenClip(**arguments)


MARK = "from pathlib import Path\nPath({ran!r}).touch()\nclass Tokens: ...\n"


@pytest.fixture
def tokenizer_with_code(tiny_open_clip, tmp_path):
    """A local-dir whose tokenizer is a Python file, and the file that appears when it runs."""
    folder, ran = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(tiny_open_clip[0] / "local", folder)
    (folder / "tokens.py").write_text(MARK.format(ran=str(ran)))
    own = {"tokenizer_class": "Tokens", "auto_map": {"AutoTokenizer": ["tokens.Tokens", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(own))

    def set_text(**text):
        file = folder / "open_clip_config.json"
        settings = json.loads(file.read_text())
        settings["model_cfg"]["text_cfg"] |= text
        file.write_text(json.dumps(settings))
        return f"local-dir:{folder}"

    return set_text, ran


def test_settings_that_would_run_their_authors_code_are_refused(tokenizer_with_code):
    set_text, ran = tokenizer_with_code
    architecture = set_text(hf_tokenizer_name="any", tokenizer_kwargs={"trust_remote_code": True})
    with pytest.raises(InputError, match=r"ask for `tokenizer_kwargs\.trust_remote_code`"):
        OpenClip(architecture)
    with pytest.raises(InputError, match="trust_remote_code"):
        OpenClipTokens(architecture)(["a cat"])
    assert not ran.exists()


def test_a_tokenizer_that_is_code_does_not_run(tokenizer_with_code, monkeypatch):
    set_text, ran = tokenizer_with_code
    architecture = set_text(hf_tokenizer_name="any")
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # transformers would ask the person at the terminal
    with pytest.raises(ValueError, match="trust_remote_code"):
        OpenClipTokens(architecture)(["a cat"])
    with pytest.raises(ValueError, match="trust_remote_code"):
        TransformerTokens(architecture.removeprefix("local-dir:"))(["a cat"])
    assert not ran.exists()


def test_embedding_helpers_restore_the_mode():
    model = small().train()
    images = embed_images(
        model, [Image.new("RGB", (72, 50), color) for color in ("red", "blue", "green")], batch_size=2
    )
    texts = embed_texts(model, ["a", "b", "c"], batch_size=2)
    assert images.shape == texts.shape == (3, 16)
    assert model.training
    with pytest.raises(InputError, match="empty"):
        embed_texts(model, [])
