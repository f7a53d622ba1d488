import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from kdmm import targets
from kdmm.errors import InputError
from kdmm.losses import AttentionMaps, HiddenStates, SequenceCrossEntropy, TokenKL
from kdmm.models import (
    Captioner,
    ConvImage,
    FramePlaces,
    ImageTransform,
    LogMel,
    MeanFrames,
    MelCNN,
    Memory,
    TextTower,
    TransformerDecoder,
    VideoClip,
    VideoTower,
    load_model,
    save_model,
)
from kdmm.models.audio.clip import AudioClip
from kdmm.models.map_encoder import MapEncoder
from kdmm.models.video import Frames
from kdmm.models.writing import TransformersNetwork
from tests.losses.data import flags
from tests.oracles import sequences
from tests.parallel import config, tokens

TEXTS = ["the dog sleeps", "a cat", "home", "a small dog and a cat"]
KINDS = ("map", "vector", "clip", "frames", "sound")
MODALITY = {"map": "image", "vector": "image", "clip": "video", "frames": "video", "sound": "audio"}
TOKENS = tokens("text", 266, 24)


class Maps(MapEncoder):
    """Maps of 4 x 4 and 2 x 2 places of pictures of 8 x 8 pixels."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 2, 2), nn.Conv2d(6, 10, 2, 2)
        self.channels, self.strides = (6, 10), (2, 4)
        self.preprocess = ImageTransform(8, resize_mode="squash")

    def forward(self, image):
        fine = self.first(image)
        return [fine, self.second(fine.relu())]


class Clips(VideoTower):
    """The mean and the difference of three frames."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2 * 3, 7)
        self.width = 7
        self.preprocess = Frames(3, ImageTransform(8))

    def forward(self, video):
        colours = video.mean((3, 4))
        return self.linear(torch.cat([colours.mean(1), colours[:, -1] - colours[:, 0]], 1))


def tower(kind):
    made = {
        "map": Maps,
        "vector": lambda: ConvImage([5, 9], 8),
        "clip": Clips,
        "frames": lambda: FramePlaces(MeanFrames(ConvImage([5], 8), 3)),
        "sound": lambda: MelCNN([4, 6], 0.2, LogMel(rate=8000, n_fft=256, hop=128, mels=16)),
    }
    return made[kind]()


def captioner(kind="map", seed=0, width=16, settings=None, **more):
    """A model whose scores differ widely, as a trained one's do, in evaluation mode."""
    torch.manual_seed(seed)
    decoder = TransformerDecoder(TOKENS, width, 2, 2, **(settings or {}))
    model = Captioner(tower(kind), decoder, TOKENS, **more)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and not name.endswith("positions.weight"):
                parameter.normal_(std=0.4)
    return model.eval()


def media(kind, count, seed=0):
    """Noise, coarse enough to survive preprocessing."""
    draw = torch.Generator().manual_seed(seed)

    def picture():
        return Image.fromarray(torch.randint(0, 256, (8, 8, 3), generator=draw, dtype=torch.uint8).numpy())

    if MODALITY[kind] == "video":
        return [VideoClip(tuple(picture() for _ in range(5))) for _ in range(count)]
    if kind == "sound":
        return [AudioClip(torch.randn(1, 2000, generator=draw) / 4, 8000) for _ in range(count)]
    return [picture() for _ in range(count)]


def batch(model, kind, pairs):
    """What the DataModule makes of pairs of (whether there is a medium, the text or None)."""
    each = media(kind, len(pairs))
    has = [medium for medium, (is_there, _) in zip(each, pairs, strict=True) if is_there]
    texts = [text for _, text in pairs if text is not None]
    modality = MODALITY[kind]
    made = {
        f"present/{modality}": torch.tensor([is_there for is_there, _ in pairs]),
        "present/text": torch.tensor([text is not None for _, text in pairs]),
    }
    if has:
        made[modality] = torch.stack([model.preprocess.media[modality](medium) for medium in has])
    if texts:
        made["text"] = model.preprocess.text(texts)
    return made


def close(found, expected, **more):
    torch.testing.assert_close(found, expected, **{"rtol": 1e-4, "atol": 1e-4, **more})


PAIRS = [(True, text) for text in TEXTS]
MIXED = [(True, TEXTS[0]), (True, None), (False, TEXTS[1]), (True, TEXTS[2]), (False, None)]


@pytest.fixture(scope="module", params=[(kind, attends) for kind in KINDS for attends in ("cross", "prefix")])
def made(request):
    kind, attends = request.param
    return kind, captioner(kind, settings={"attends": attends})


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_locked_tower_gave_stands_for_the_media(kind):
    model, modality = captioner(kind, freeze=True), MODALITY[kind]
    given = batch(model, kind, MIXED)
    places = model.features(modality, given[modality])
    assert not places.requires_grad
    looked_up = {name: value for name, value in given.items() if name != modality} | {f"features/{modality}": places}
    expected, found = model(given), model(looked_up)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    assert model.generate(places, 2, 6, are_features=True) == model.generate(given[modality], 2, 6)
    assert (model.locked, captioner(kind).locked) == ((modality,), ())


def next_scores(model, inputs, written):
    previous = torch.tensor([[TOKENS.begin, *written]])
    return model.decoder(model.read(inputs), previous)["logits"][0, -1]


def test_it_reads_what_its_tower_reads(made):
    kind, model = made
    assert model.modality == MODALITY[kind]
    assert model.preprocess.modalities == tuple(
        each for each in ("image", "text", "audio", "video") if each in ("text", MODALITY[kind])
    )
    outputs = model(batch(model, kind, PAIRS))
    count = {"map": 4, "frames": 3}.get(kind, 1)
    assert outputs["places"].shape == (4, count, model.tower.width)
    assert outputs["logits"].shape == (4, outputs["tokens"].shape[1], TOKENS.size)


def test_no_later_token_changes_an_earlier_score(made):
    kind, model = made
    memory = model.read(batch(model, kind, PAIRS)[model.modality])
    previous = torch.randint(3, TOKENS.size, (4, 9))
    whole = model.decoder(memory, previous)
    for t in range(8):
        other = previous.clone()
        other[:, t + 1 :] = torch.randint(3, TOKENS.size, (4, 8 - t))
        changed = model.decoder(memory, other)
        for name in ("logits", "decoder.1", "decoder.2"):
            close(changed[name][:, : t + 1], whole[name][:, : t + 1])
        assert not torch.allclose(changed["logits"][:, t + 1 :], whole["logits"][:, t + 1 :], atol=1e-2)


def test_teacher_forcing_is_decoding_step_by_step_and_the_medium_matters(made):
    kind, model = made
    one = batch(model, kind, PAIRS[:1])
    logits = model(one)["logits"][0]
    text = one["text"][0].tolist()
    for t in range(len(text)):
        close(logits[t], next_scores(model, one[model.modality], text[:t]))
    other = torch.stack([model.preprocess.media[model.modality](each) for each in media(kind, 1, seed=5)])
    assert (next_scores(model, other, text[:1]) - logits[1]).abs().max() > 0.01


def gradients(model, given):
    model.zero_grad()
    loss = SequenceCrossEntropy("student.tokens")(model(given), {}, {})
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_neither_padding_nor_absent_media_and_captions_change_the_loss_or_its_gradient(made):
    kind, model = made
    both = [pair for pair in zip(MIXED, media(kind, 5), strict=True) if pair[0][0] and pair[0][1] is not None]
    alone = {
        model.modality: torch.stack([model.preprocess.media[model.modality](each) for _, each in both]),
        "text": TOKENS([text for (_, text), _ in both]),
    }
    loss, expected = gradients(model, alone)
    mixed = batch(model, kind, MIXED)
    padded = {**mixed, "text": F.pad(mixed["text"], (0, 3), value=TOKENS.pad)}
    for given in (mixed, padded):
        found_loss, found = gradients(model, given)
        close(found_loss, loss)
        assert found.keys() == expected.keys()
        for name in expected:
            close(found[name], expected[name])
    outputs = model(padded)
    assert torch.equal(outputs["present/logits"], flags("10010"))
    assert torch.equal(outputs["present/places"], flags("11010"))
    assert (outputs["tokens"][:, -3:] == -100).all()
    assert (outputs["logits"][~flags("10010")] == 0).all()


@pytest.mark.parametrize("pairs", [[(True, None), (False, "a cat")], [(False, "a"), (False, "b")], [(False, None)]])
def test_a_batch_without_a_pair_gives_gradients_of_zero_and_leaves_batch_statistics(made, pairs):
    kind, model = made
    given = batch(model, kind, pairs)
    has_medium = any(is_there for is_there, _ in pairs)
    if not has_medium:
        model.train()
    before = {name: each.clone() for name, each in model.named_buffers()}
    loss, found = gradients(model, given)
    assert loss == 0
    assert found
    assert all((grad == 0).all() for grad in found.values())
    assert all(torch.equal(each, before[name]) for name, each in model.named_buffers())
    assert model.tower.training == (not has_medium)
    model.eval()
    outputs = model(given)
    assert outputs["tokens"].tolist() == [[-100]] * len(pairs)
    assert outputs["logits"].shape == (len(pairs), 1, TOKENS.size)


def test_captions_of_one_token_and_of_none(made):
    kind, model = made
    given = batch(model, kind, [(True, "a"), (True, "")])
    outputs = model(given)
    assert outputs["tokens"].tolist() == [TOKENS(["a"])[0].tolist(), [TOKENS.end, -100]]
    close(outputs["logits"][1, 0], next_scores(model, given[model.modality][1:], []))


def greedy(model, inputs, most):
    """Argmax in a loop, among the tokens that texts hold."""
    written = []
    while len(written) < most and TOKENS.end not in written:
        scores = next_scores(model, inputs, written)
        scores[[TOKENS.pad, TOKENS.begin]] = -torch.inf
        written.append(int(scores.argmax()))
    return written


def likeliest_of_two(model, inputs):
    """The text of at most two tokens with the greatest log-likelihood a token, of all."""
    never = [TOKENS.pad, TOKENS.begin]
    first = next_scores(model, inputs, [])
    first[never] = -torch.inf
    first = first.log_softmax(0)
    previous = torch.stack([torch.full((TOKENS.size,), TOKENS.begin), torch.arange(TOKENS.size)], 1)
    second = model.decoder(model.read(inputs).repeated(TOKENS.size), previous)["logits"][:, 1]
    second[:, never] = -torch.inf
    both = (first[:, None] + second.log_softmax(1)) / 2
    both[TOKENS.end] = -torch.inf
    if first[TOKENS.end] > both.max():
        return [TOKENS.end]
    return list(divmod(int(both.argmax()), TOKENS.size))


def cut(row):
    row = row.tolist()
    return row[: row.index(TOKENS.end) + 1] if TOKENS.end in row else [each for each in row if each]


@torch.no_grad()
def test_greedy_is_argmax_in_a_loop_and_enough_beams_find_the_likeliest_of_all(made):
    kind, model = made
    inputs = batch(model, kind, PAIRS)[model.modality]
    best = model.decoder.write(model.read(inputs), TOKENS, 1, 5)
    for row in range(len(PAIRS)):
        assert cut(best[row]) == greedy(model, inputs[row : row + 1], 5)
    some = inputs[:2]
    every = model.decoder.write(model.read(some), TOKENS, TOKENS.size, 2)
    assert [cut(row) for row in every] == [likeliest_of_two(model, some[row : row + 1]) for row in range(2)]
    assert model.generate(inputs, max_tokens=5) == TOKENS.decode(best)
    beams = model.decoder.write(model.read(inputs), TOKENS, 2, 5)
    assert model.describe(media(kind, 4), 2, 5, batch_size=3) == TOKENS.decode(beams)


@torch.no_grad()
def test_no_text_depends_on_its_neighbours():
    """The search of one sample may be over long before another's."""
    model = captioner(seed=3)
    model.decoder.embedding.weight[TOKENS.end] *= 3  # so that it comes
    inputs = torch.randn(12, 3, 8, 8)
    for beams in (1, 2):
        together = model.decoder.write(model.read(inputs), TOKENS, beams, 6)
        for row in range(12):
            alone = model.decoder.write(model.read(inputs[row : row + 1]), TOKENS, beams, 6)
            assert cut(alone[0]) == cut(together[row])
    ends = (together == TOKENS.end).any(1)
    assert ends.any()
    assert not ends.all()


def test_what_runs_out_of_positions_is_refused():
    model = captioner()
    with pytest.raises(InputError, match=r"a text of 25 tokens, and there are positions for 24"):
        model.decoder(model.read(torch.zeros(1, 3, 8, 8)), torch.full((1, 25), 5))


def test_what_does_not_fit_is_named():
    class Letters(TextTower):
        width = 3

        def forward(self, text):
            raise NotImplementedError

    with pytest.raises(InputError, match=r"Captioner.tower: Letters reads text. Take a tower of image, audio, video"):
        Captioner(Letters(), TransformerDecoder(TOKENS, 8), TOKENS)
    with pytest.raises(InputError, match=r"TransformerDecoder.heads: 3 heads do not divide the width 8"):
        TransformerDecoder(TOKENS, 8, heads=3)
    with pytest.raises(InputError, match=r"TransformerDecoder.layers: 0 given"):
        TransformerDecoder(TOKENS, 8, layers=0)


def test_a_frozen_tower_neither_trains_nor_moves():
    model = captioner("vector", freeze=True)
    before = {name: each.clone() for name, each in model.tower.state_dict().items()}
    model.train()
    assert model.training
    assert not model.tower.training
    _, found = gradients(model, batch(model, "vector", PAIRS))
    assert found.keys() == {name for name, _ in model.named_parameters() if not name.startswith("tower.")}
    assert all(torch.equal(each, before[name]) for name, each in model.tower.state_dict().items())


def copied(layer, linears, norms):
    """Give one of PyTorch's layers ours' weights."""
    with torch.no_grad():
        for theirs, ours in linears:
            theirs.load_state_dict(ours.state_dict())
        for theirs, ours in norms:
            theirs.load_state_dict(ours.state_dict())
    return layer


def attention(theirs, ours):
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())


@pytest.mark.parametrize("attentions", [False, True])
@pytest.mark.parametrize("attends", ["cross", "prefix"])
def test_the_decoder_is_pytorchs_with_the_same_weights(attends, attentions):
    decoder = captioner(settings={"attends": attends, "attentions": attentions}).decoder
    places = torch.randn(3, 5, 16)
    valid = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 1, 0, 0]], dtype=torch.bool)
    previous = torch.randint(0, TOKENS.size, (3, 6))
    outputs = decoder(Memory(places, valid), previous)
    states = decoder.embedding.weight[previous] + decoder.positions.weight[:6]
    before = 0 if attends == "cross" else 5
    hidden = torch.ones(before + 6, before + 6, dtype=torch.bool).triu(1)  # PyTorch masks what is true
    hidden[:before, :before] = False
    close(outputs["decoder.0"], states)
    if before:
        states = torch.cat([places, states], 1)
    kind = nn.TransformerDecoderLayer if attends == "cross" else nn.TransformerEncoderLayer
    for number, ours in enumerate(decoder.layers):
        layer = kind(16, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True).train()
        norm, first, _, second = ours.perceptron
        attention(layer.self_attn, ours.attention)
        pairs = [(layer.norm1, ours.norm), (layer.norm3 if attends == "cross" else layer.norm2, norm)]
        if attends == "cross":
            attention(layer.multihead_attn, ours.cross)
            pairs.append((layer.norm2, ours.cross_norm))
        copied(layer, [(layer.linear1, first), (layer.linear2, second)], pairs)
        if attends == "cross":
            states = layer(states, places, tgt_mask=hidden, memory_key_padding_mask=~valid)
        else:
            unseen = F.pad(~valid, (0, 6))
            # PyTorch gives NaN where a place sees nothing, and ours lets it see itself: neither is looked at
            states = layer(states, src_mask=hidden, src_key_padding_mask=unseen)
        if number == 0:
            close(outputs["decoder.1"], states[:, before:])
    last = decoder.norm(states[:, before:])
    close(outputs["decoder.2"], last)
    close(outputs["logits"], last @ decoder.embedding.weight.T)
    assert any("attention" in name for name in outputs) == attentions


def test_attention_is_given_after_the_softmax_and_sees_what_it_may():
    valid = torch.tensor([[1, 1, 1], [0, 1, 0]], dtype=torch.bool)
    memory = Memory(torch.randn(2, 3, 16), valid)
    previous = torch.randint(0, TOKENS.size, (2, 5))
    for attends in ("cross", "prefix"):
        outputs = captioner(settings={"attends": attends, "attentions": True}).decoder(memory, previous)
        for layer in range(2):
            own, cross = outputs[f"decoder_attention.{layer}"], outputs[f"cross_attention.{layer}"]
            assert own.shape == (2, 2, 5, 5)
            assert cross.shape == (2, 2, 5, 3)
            assert (own.triu(1) == 0).all()
            assert (own.diagonal(dim1=2, dim2=3) > 0).all()
            assert (cross[1, :, :, [0, 2]] == 0).all()
            one = torch.ones(2, 2, 5)
            if attends == "cross":
                close(own.sum(3), one)
                close(cross.sum(3), one)
            else:
                close(own.sum(3) + cross.sum(3), one)


def test_a_student_follows_distributions_states_and_attention_of_its_teacher():
    settings = {"attentions": True}
    student, teacher = captioner(seed=1, settings=settings), captioner(seed=2, settings=settings)
    given = batch(teacher, "map", MIXED)
    ours, theirs = student(given), teacher(given)
    valid = ours["valid/logits"].tolist()
    plain, shown = ({name: each.detach() for name, each in outputs.items()} for outputs in (ours, theirs))
    found = {
        "word": TokenKL(temperature=2.0),
        "states": HiddenStates({"decoder.1": "decoder.1"}),
        "attention": AttentionMaps({"decoder_attention.1": "decoder_attention.1"}),
        "where to look": AttentionMaps({"cross_attention.1": "cross_attention.1"}),
    }
    expected = {
        "word": sequences.token_kl(plain["logits"], shown["logits"], valid, 2.0),
        "states": sequences.hidden_states(plain["decoder.1"], shown["decoder.1"], valid, "mse"),
        "attention": sequences.attention_maps(plain["decoder_attention.1"], shown["decoder_attention.1"], valid),
        "where to look": sequences.attention_maps(
            plain["cross_attention.1"], shown["cross_attention.1"], valid, ours["keys/cross_attention.1"].tolist()
        ),
    }
    padded = {**given, "text": F.pad(given["text"], (0, 2), value=TOKENS.pad)}
    for name, term in found.items():
        term.build(ours, theirs, {})
        value = term(ours, theirs, {})
        assert value.item() == pytest.approx(expected[name], rel=1e-4)
        assert expected[name] > 0
        close(term(student(padded), teacher(padded), {}), value)
        assert term(shown, shown, {}).item() == pytest.approx(0, abs=1e-6)


def test_pictures_without_captions_teach_the_places_alone():
    student, teacher = captioner(seed=1), captioner(seed=2)
    given = batch(teacher, "map", [(True, None), (False, None), (True, None)])
    ours, theirs = student(given), teacher(given)
    term = HiddenStates({"places": "places"})
    term.build(ours, theirs, {})
    value = term(ours, theirs, {})
    rows = [0, 2]
    close(value, (ours["places"][rows] - theirs["places"][rows]).square().mean())
    assert TokenKL()(ours, theirs, {}) == 0
    value.backward()
    assert all((p.grad is None) == (not name.startswith("tower.")) for name, p in student.named_parameters())


@torch.no_grad()
def test_transformers_own_decoders_write_too():
    import transformers

    torch.manual_seed(0)
    made = config("Marian")
    made.vocab_size = made.decoder_vocab_size = TOKENS.size
    made.pad_token_id, made.decoder_start_token_id, made.eos_token_id = TOKENS.pad, TOKENS.begin, TOKENS.end
    made.forced_eos_token_id = made.bos_token_id = None
    model = Captioner(Maps(), TransformersNetwork(transformers.MarianMTModel(made)), TOKENS).eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "embed_positions" not in name:
            parameter.normal_(std=0.4)
    inputs = batch(model, "map", PAIRS)["image"]
    written = model.decoder.write(model.read(inputs), TOKENS, 1, 5)
    for row in range(4):
        assert cut(written[row]) == greedy(model, inputs[row : row + 1], 5)


def saved(path):
    """A model, written to a file too."""
    text = {
        "_target_": "kdmm.data.TrainedTokens",
        "trained_on": {"_target_": "kdmm.data.Emoji", "groups": ["Food & Drink"]},
        "vocab_size": 280,
        "side": "text",
        "context_length": 12,
    }
    tree = {
        "_target_": "kdmm.models.Captioner",
        "tower": {"_target_": "kdmm.models.ConvImage", "widths": [4, 6], "image_size": 8},
        "decoder": {"_target_": "kdmm.models.TransformerDecoder", "text": text, "width": 8},
        "text": text,
        "freeze": True,
    }
    torch.manual_seed(0)
    model = targets.build(tree).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter)  # so that texts differ
    save_model(path, model, tree)
    return model


def test_a_model_is_a_file_that_writes_without_its_data(tmp_path):
    model = saved(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.text == model.text
    assert loaded.text.content
    assert loaded.preprocess == model.preprocess
    given, pictures = batch(loaded, "vector", PAIRS), media("vector", 6)
    logits = loaded(given)["logits"]
    assert torch.equal(logits, model(given)["logits"])
    assert not torch.allclose(logits[0, 0], logits[1, 0], atol=1e-2)
    for beams in (1, 3):
        assert loaded.describe(pictures, beams, 6) == model.describe(pictures, beams, 6)


def test_a_trained_model_is_loaded_with_other_arguments_where_its_tensors_fit(tmp_path):
    path = tmp_path / "model.safetensors"
    model = saved(path)
    given = batch(model, "vector", PAIRS)
    plain, attending = model(given), load_model(path, changes={"decoder": {"attentions": True}})(given)
    assert "cross_attention.1" not in plain
    assert attending.keys() > plain.keys()
    close(attending["logits"], plain["logits"])
    assert attending["cross_attention.1"].shape[:2] == (4, 4)
    assert attending["keys/cross_attention.1"].all()
    other = load_model(path, changes={"decoder": {"dropout": 0.3}, "dropout": 0.5})
    assert (other.projection[0].p, other.decoder.dropout.p) == (0.5, 0.3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"decodr": {"layers": 1}},
            r"changes.decodr: the model has no such part; it has tower, decoder, text. Did you",
        ),
        ({"decoder": {"width": {"a": 1}}}, r"changes.decoder.width: the model has no such part; it has text"),
        ({"decoder": {"attention": True}}, r"decoder.attention: unknown argument .*Did you mean 'attentions'"),
        ({"decoder": {"layers": 3}}, r"does not fit the model it describes"),
    ],
)
def test_changes_that_do_not_fit_are_named(tmp_path, changes, said):
    saved(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=f"(?s){said}"):
        load_model(tmp_path / "model.safetensors", changes=changes)
