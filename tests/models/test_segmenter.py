import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import (
    CWD,
    PKT,
    CrossEntropy,
    Hint,
    Objective,
    PixelCrossEntropy,
    PixelKL,
    SimilarityPreserving,
)
from kdmm.models import ImageTransform, MapEncoder, Segmenter, Tapped, TimmMaps
from tests.losses.data import flags

torch.manual_seed(0)
IMAGES = torch.randn(3, 3, 32, 32)


class Pooled(MapEncoder):
    """The picture itself, averaged over squares of 4 and of 8 pixels."""

    channels = (3, 3)
    strides = (4, 8)
    preprocess = ImageTransform(32, resize_mode="squash")

    def forward(self, image):
        return [F.avg_pool2d(image, stride) for stride in self.strides]


def segmenter(classes=5, width=8):
    torch.manual_seed(1)
    model = Segmenter(Pooled(), classes, width).eval()
    norm = model.decoder.smooth[2]
    norm.running_mean, norm.running_var = torch.randn(width), torch.rand(width) + 0.5
    return model


def test_logits_are_what_the_docstring_says():
    model = segmenter()
    first, second = model.decoder.lateral
    depthwise, pointwise, norm, _ = model.decoder.smooth
    fine = F.conv2d(F.avg_pool2d(IMAGES, 4), first.weight, first.bias)
    coarse = F.conv2d(F.avg_pool2d(IMAGES, 8), second.weight, second.bias)
    added = fine + F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    maps = F.relu(norm(F.conv2d(F.conv2d(added, depthwise.weight, padding=1, groups=8), pointwise.weight)))
    expected = F.conv2d(maps, model.classifier.weight, model.classifier.bias)
    found = model({"image": IMAGES})
    torch.testing.assert_close(found["logits"], expected)
    assert found["logits"].shape == (3, 5, 8, 8)
    assert found["present/logits"].all()


def test_a_scene_moved_by_the_stride_has_its_logits_moved():
    model = Segmenter(TimmMaps("test_efficientnet", 64, stages=2), 3, 8).eval()
    image = torch.zeros(1, 3, 64, 64)
    image[:, :, 20:28, 20:28] = 3.0
    here = model({"image": image})["logits"]
    there = model({"image": image.roll((8, 4), (2, 3))})["logits"]
    torch.testing.assert_close(here.roll((2, 1), (2, 3))[..., 5:-5, 5:-5], there[..., 5:-5, 5:-5], rtol=1e-4, atol=1e-5)
    assert (here - there).abs().max() > 1e-3


def test_samples_without_a_picture_have_zero_rows_and_are_marked():
    model, flag = segmenter(), flags("10110")
    outputs = model({"image": IMAGES, "present/image": flag})
    torch.testing.assert_close(outputs["logits"][flag], model({"image": IMAGES})["logits"])
    assert (outputs["logits"][~flag] == 0).all()
    assert torch.equal(outputs["present/logits"], flag)
    nothing = model({"present/image": flags("00")})
    assert nothing["logits"].shape[:2] == (2, 5)
    assert not nothing["present/logits"].any()


def student_and_teacher():
    student = Tapped(Segmenter(TimmMaps("test_efficientnet", 32, stages=3), 4, 8), {"maps": "decoder.smooth"})
    teacher = Tapped(Segmenter(TimmMaps("test_resnet", 32), 4, 16), {"maps": "decoder.smooth"}).eval()
    return student, teacher


@pytest.mark.parametrize(
    "term",
    [
        PixelKL(label="label_map"),
        PixelKL(label=None, temperature=2.0),
        CWD(),
        CWD(student="maps", teacher="maps", temperature=1.0),
        SimilarityPreserving(student="maps", teacher="maps"),
        PKT(student="maps", teacher="maps"),
        Hint(student="maps", teacher="maps"),
    ],
    ids=lambda term: f"{type(term).__name__}, {getattr(term, 'layers', '')}",
)
def test_terms_on_maps_and_logits_train_the_whole_student(term):
    student, teacher = student_and_teacher()
    batch = {"image": IMAGES}
    labels = torch.randint(0, 4, (3, 40, 40))
    labels[0] = 255  # nobody has marked this one
    rest = {"label_map": labels, "id": ["a", "b", "c"]}
    objective = Objective({"hard": PixelCrossEntropy(), "soft": term})
    with torch.no_grad():
        objective.build(student(batch), teacher(batch), rest)
        target = teacher(batch)
    optimizer = torch.optim.Adam([*student.parameters(), *objective.parameters()], lr=0.003)
    values = []
    for _ in range(8):
        loss, parts = objective(student(batch), target, rest)
        optimizer.zero_grad()
        loss.backward()
        assert all(each.grad is not None and each.grad.isfinite().all() for each in student.parameters())
        optimizer.step()
        values.append((loss.item(), parts["soft"].item()))
    assert values[-1][0] < values[0][0]
    assert values[-1][1] < values[0][1]


def test_a_loss_on_whole_samples_names_the_one_for_maps():
    with pytest.raises(InputError, match="for maps one of the dense"):
        CrossEntropy()(segmenter()({"image": IMAGES}), {}, {"label": torch.zeros(3, dtype=torch.long)})


def test_wrong_settings_are_named():
    with pytest.raises(InputError, match=r"Segmenter\.classes: 1"):
        Segmenter(Pooled(), 1)
    with pytest.raises(InputError, match=r"Segmenter\.width: 0"):
        Segmenter(Pooled(), 2, 0)


def test_dropout_drops_whole_channels_in_training_alone():
    model = Segmenter(Pooled(), 5, 8, dropout=0.5).eval()
    model.load_state_dict(segmenter().state_dict())
    torch.testing.assert_close(model({"image": IMAGES})["logits"], segmenter()({"image": IMAGES})["logits"])
    model.dropout.train()
    dropped = model.dropout(torch.ones(1, 100, 4, 4))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropped, dropped[..., :1, :1].expand_as(dropped))
