import pytest
import torch
from PIL import Image
from torch import nn

from kdmm.errors import InputError
from kdmm.models import (
    AttentionFrames,
    ConvImage,
    DualEncoder,
    Frames,
    MeanFrames,
    OverFrames,
    RandomFrames,
    SharedSpace,
    Tapped,
    TransformerFrames,
    VideoClip,
    VideoSpace,
    embed_media,
    load_model,
    save_model,
)
from kdmm.models.towers.transformer_frames import waves
from kdmm.models.video import encode_different, spread
from kdmm.views import seeded
from tests.models.tiny import TinyText

TOWERS = [MeanFrames, AttentionFrames, TransformerFrames]


def tower(kind=MeanFrames, frames=4, **settings):
    return kind(ConvImage([8, 16], 8), frames, **settings)


def shades(count):
    return [Image.new("RGB", (8, 8), (n, n, n)) for n in range(count)]


def numbers(frames):
    return [frame.getpixel((0, 0))[0] for frame in frames]


class Shade(nn.Module):
    """Gives a frame's first value: so a test sees which frames were taken."""

    def __call__(self, image):
        return torch.full((3, 2, 2), float(image.getpixel((0, 0))[0]))


@pytest.mark.parametrize("length", [1, 2, 7, 16, 72])
@pytest.mark.parametrize("count", [1, 4, 16])
def test_frames_are_the_middles_of_equal_parts(length, count):
    clip = VideoClip(tuple(shades(length)))
    found = Frames(count, Shade())(clip)
    expected = [int((n + 0.5) * length / count) for n in range(count)]
    assert found[:, 0, 0, 0].tolist() == expected == list(spread(length, count))
    assert found.shape == (count, 3, 2, 2)


def test_of_a_clip_of_one_frame_it_is_taken_prepared_and_held_once():
    calls = []

    def image(frame):
        calls.append(frame)
        return torch.zeros(3, 2, 2)

    found = Frames(16, image)(VideoClip(tuple(shades(1))))
    assert found.shape == (16, 3, 2, 2)
    assert len(calls) == 1
    assert found.untyped_storage().nbytes() == 3 * 2 * 2 * 4


def test_a_random_frame_of_each_part_is_drawn_from_the_view():
    frames = shades(72)
    with seeded("a", 0):
        first = numbers(RandomFrames(16)(frames))
    with seeded("a", 0):
        assert numbers(RandomFrames(16)(frames)) == first
    with seeded("a", 1):
        assert numbers(RandomFrames(16)(frames)) != first
    drawn = torch.tensor([numbers(RandomFrames(16)(frames)) for _ in range(300)])
    starts = torch.arange(16) * 4.5
    assert (drawn >= starts.floor()).all()
    assert (drawn <= (starts + 4.5).floor()).all()
    assert (drawn.double().mean(0) - (starts + 2.25 - 0.5)).abs().max() < 0.4  # evenly over each part
    assert (drawn.diff(dim=1) >= 0).all()


@pytest.mark.parametrize("length", [1, 3, 16])
def test_of_a_clip_of_few_frames_every_one_is_taken(length):
    assert numbers(RandomFrames(16)(shades(length))) == list(range(length))


def test_a_student_takes_its_frames_of_the_teachers():
    drawn = RandomFrames(16)(shades(72))
    student, teacher = Frames(4, Shade()), Frames(16, Shade())
    clip = VideoClip(tuple(drawn))
    assert torch.equal(student(clip), teacher(clip)[[2, 6, 10, 14]])


@pytest.mark.parametrize("kind", [Frames, RandomFrames])
def test_no_frames_are_refused(kind):
    with pytest.raises(InputError, match="0 given"):
        kind(0, Shade()) if kind is Frames else kind(0)


@pytest.mark.parametrize("kind", TOWERS)
def test_before_training_each_tower_is_the_mean_over_the_frames(kind):
    made = tower(kind).eval()
    video = torch.randn(3, 4, 3, 8, 8)
    frames = torch.stack([made.image(video[:, n]) for n in range(4)], 1)
    torch.testing.assert_close(made.places(video), frames)
    torch.testing.assert_close(made(video), frames.mean(1))
    assert made.width == 16


@pytest.mark.parametrize("kind", TOWERS)
def test_a_still_clip_is_its_picture_before_training(kind):
    made = tower(kind).eval()
    picture = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(made(picture[:, None].expand(-1, 4, -1, -1, -1)), made.image(picture))


def test_equal_frames_in_a_row_are_encoded_once():
    video = torch.randn(2, 5, 3, 2, 2)
    video[0, 1:3] = video[0, :1]
    video[0, 4] = video[0, 0]  # equal, but not to the one before it
    video[1, 0] = video[0, 4]  # another clip's
    seen = []

    def encode(pictures):
        seen.append(len(pictures))
        return pictures.flatten(1)

    assert torch.equal(encode_different(video, encode), video.flatten(2))
    assert seen == [10 - 2]


def test_a_training_tower_counts_each_frame_in_its_batch_statistics():
    made, other = tower().train(), ConvImage([8, 16], 8).train()
    other.load_state_dict(made.image.state_dict())
    video = torch.randn(2, 1, 3, 8, 8).expand(-1, 4, -1, -1, -1)
    made(video)
    other(video.flatten(0, 1))
    assert all(torch.equal(made.image.state_dict()[name], value) for name, value in other.state_dict().items())


def trained(kind, **settings):
    """A tower with weights that are not those of the start."""
    made = tower(kind, **settings).eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made


def test_attention_weights_the_frames_as_the_formula_says():
    made = trained(AttentionFrames)
    frames = torch.randn(2, 4, 16)
    expected = torch.zeros(2, 16)
    for n in range(2):
        scores = [made.score.weight[0] @ torch.tanh(made.hidden.weight @ frames[n, f]) for f in range(4)]
        weights = torch.stack(scores).exp() / sum(score.exp() for score in scores)
        expected[n] = sum(weights[f] * frames[n, f] for f in range(4))
    torch.testing.assert_close(made.pool(frames), expected)


def test_the_order_of_frames_counts_for_the_transformer_alone_and_by_their_times():
    frames = torch.randn(2, 4, 16)
    turned = frames.flip(1)
    for kind in (MeanFrames, AttentionFrames):
        made = trained(kind)
        torch.testing.assert_close(made.pool(frames), made.pool(turned))
    made = trained(TransformerFrames)
    assert (made.pool(frames) - made.pool(turned)).abs().max() > 1e-3
    nn.init.zeros_(made.time.weight)
    torch.testing.assert_close(made.pool(frames), made.pool(turned))


def test_positions_are_times():
    torch.testing.assert_close(waves(4), waves(12)[1::3])  # 1/8, 3/8, 5/8, 7/8 of the clip
    middle = waves(1)[0]  # at half of the clip
    expected = [torch.pi * 2.0**k for k in range(-1, 7)]
    torch.testing.assert_close(
        middle, torch.tensor([*map(torch.sin, torch.tensor(expected)), *map(torch.cos, torch.tensor(expected))])
    )
    distances = torch.cdist(waves(64), waves(64)) + 9 * torch.eye(64)
    assert distances.min() > 0.1  # no two times are alike


def test_the_transformer_is_narrowed_to_its_width():
    made = trained(TransformerFrames, width=8, heads=2)
    frames = torch.randn(2, 4, 16)
    narrow = made.narrow(frames)
    expected = (narrow + made.added(made.encoder(narrow + made.time(waves(4))))).mean(1)
    torch.testing.assert_close(made.pool(frames), expected)
    assert made.width == 8


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (TransformerFrames, {"heads": 3}, "3 heads do not divide the width 16"),
        (TransformerFrames, {"layers": 0}, "TransformerFrames.layers: 0 given"),
        (AttentionFrames, {"hidden_width": 0}, "AttentionFrames.hidden_width: 0 given"),
        (MeanFrames, {"frames": 0}, "Frames.count: 0 given"),
    ],
)
def test_wrong_towers_are_named(kind, settings, message):
    with pytest.raises(InputError, match=message):
        tower(kind, **settings)


@pytest.mark.parametrize("kind", TOWERS)
def test_a_frozen_image_tower_does_not_move_and_what_is_above_it_does(kind):
    made = trained(kind, frozen=True).train()
    before = {name: value.clone() for name, value in made.image.state_dict().items()}
    made(torch.randn(2, 4, 3, 8, 8)).sum().backward() if kind is not MeanFrames else made(torch.randn(2, 4, 3, 8, 8))
    assert all(torch.equal(made.image.state_dict()[name], value) for name, value in before.items())
    for name, parameter in made.named_parameters():
        assert (parameter.grad is None) == name.startswith("image."), name


def test_a_frames_features_can_be_tapped():
    space = SharedSpace({"video": tower(), "text": TinyText()}, embed_dim=4).eval()
    tapped = Tapped(space, {"each": "towers.video.frames"})
    video, flag = torch.randn(2, 4, 3, 8, 8), torch.tensor([True, False, True])
    batch = {"video": video, "present/video": flag, "text": torch.ones(3, 2, dtype=torch.long)}
    found = tapped({**batch, "present/text": torch.tensor([True, True, True])})
    torch.testing.assert_close(found["each"][flag], space.towers["video"].places(video))
    assert found["each"][1].abs().max() == 0
    assert found["present/each"].tolist() == [True, False, True]
    assert found["valid/each"].tolist() == [[True] * 4, [False] * 4, [True] * 4]


@pytest.mark.parametrize("kind", TOWERS)
def test_absent_clips_change_no_embedding_and_no_gradient(kind):
    space = SharedSpace({"video": trained(kind)}, embed_dim=4).eval()
    video = torch.randn(2, 4, 3, 8, 8)
    target = torch.randn(3, 4)
    gradients = []
    for flag in ([True, True], [True, False, True]):
        space.zero_grad()
        flag = torch.tensor(flag)
        found = space({"video": video, "present/video": flag})["video"]
        (found[flag] * target[:2]).sum().backward()
        gradients.append({name: p.grad.clone() for name, p in space.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)
    nothing = space({"present/video": torch.tensor([False, False])})
    assert nothing["video"].abs().max() == 0


def locked(kind=TransformerFrames):
    return VideoSpace({"video": trained(kind), "text": TinyText()}, embed_dim=4, freeze=["video", "text"])


def test_a_locked_video_tower_is_trained_above_its_frames():
    space = locked().train()
    assert not space.towers["video"].image.training
    assert space.towers["video"].encoder.training
    assert not space.towers["text"].training
    trains = {name for name, parameter in space.named_parameters() if parameter.requires_grad}
    assert any(name.startswith("towers.video.encoder") for name in trains)
    assert not any(name.startswith(("towers.video.image", "towers.text")) for name in trains)
    space({"video": torch.randn(2, 4, 3, 8, 8)})["video"].sum().backward()
    assert space.towers["video"].time.weight.grad.abs().max() > 0


@pytest.mark.parametrize("kind", TOWERS)
def test_what_was_computed_of_the_frames_beforehand_gives_the_same_embeddings(kind):
    space = locked(kind).eval()
    video = torch.randn(3, 4, 3, 8, 8)
    online = space({"video": video})
    features = space.features("video", video)
    assert features.shape == (3, 4 * 16)
    assert not features.requires_grad
    torch.testing.assert_close(space({"features/video": features})["video"], online["video"])
    plain = SharedSpace({"video": space.towers["video"], "text": TinyText()}, embed_dim=4)
    plain.projections = space.projections
    torch.testing.assert_close(plain({"video": video})["video"], online["video"])


def test_a_space_of_another_video_tower_is_refused():
    with pytest.raises(InputError, match="video is left out; give a tower that sees frame by frame"):
        VideoSpace({"text": TinyText()})


def test_a_space_is_kept_in_a_file(tmp_path):
    tree = {
        "_target_": "kdmm.models.VideoSpace",
        "towers": {
            "video": {
                "_target_": "kdmm.models.TransformerFrames",
                "image": {"_target_": "kdmm.models.ConvImage", "widths": [8, 16], "image_size": 8},
                "frames": 4,
                "frozen": True,
            }
        },
        "embed_dim": 4,
        "freeze": ["video"],
    }
    space = VideoSpace({"video": trained(TransformerFrames)}, embed_dim=4, freeze=["video"]).eval()
    save_model(tmp_path / "a.safetensors", space, tree)
    video = torch.randn(2, 4, 3, 8, 8)
    torch.testing.assert_close(
        load_model(tmp_path / "a.safetensors")({"video": video})["video"], space({"video": video})["video"]
    )


def pictures_model():
    return DualEncoder(ConvImage([8, 16], 8), TinyText(), embed_dim=4).eval()


def test_a_model_of_pictures_over_frames_is_the_normalized_mean_of_its_embeddings():
    model = pictures_model()
    over = OverFrames(model, 4)
    video = torch.randn(2, 4, 3, 8, 8)
    video[0, 1] = video[0, 0]
    text = torch.ones(3, 2, dtype=torch.long)
    flags = {"present/video": torch.tensor([True, False, True]), "present/text": torch.tensor([True] * 3)}
    found = over({"video": video, "text": text, **flags})
    each = torch.stack([model({"image": video[:, n]})["image"] for n in range(4)])
    expected = torch.nn.functional.normalize(each.mean(0), dim=1)
    torch.testing.assert_close(found["video"][[0, 2]], expected)
    assert found["video"][1].abs().max() == 0
    assert torch.equal(found["text"], model({"text": text})["text"])
    assert "image" not in found
    assert found["logit_scale"] == model({})["logit_scale"]
    nothing = over({"text": text, "present/text": flags["present/text"], "present/video": torch.tensor([False] * 3)})
    assert nothing["video"].shape == (3, 4)
    assert nothing["video"].abs().max() == 0
    assert set(over.preprocess.modalities) == {"text", "video"}
    assert over.preprocess.video == Frames(4, model.preprocess.image)


def test_of_a_still_clip_it_is_the_pictures_own_embedding():
    model = pictures_model()
    picture = shades(5)[4]
    alone = embed_media(model, "image", [picture])
    torch.testing.assert_close(embed_media(OverFrames(model, 4), "video", [VideoClip((picture,))]), alone)


def test_over_frames_needs_a_model_of_pictures():
    with pytest.raises(InputError, match="SharedSpace reads video; give a model that reads pictures"):
        OverFrames(SharedSpace({"video": tower()}), 4)
