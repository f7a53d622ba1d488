import copy
import math

import pytest
import torch
from torch import nn
from torchvision.models.detection.image_list import ImageList

from kdmm.errors import InputError
from kdmm.losses import OwnLoss
from kdmm.models import Tapped, TimmPyramid, TorchvisionDetector
from kdmm.models.detection.suppression import detections_of, padded
from kdmm.targets import check

SIDE = 32
TAPS = {
    "p0": "detector.backbone.fpn.layer_blocks.0",
    "classes": "detector.head.classification_head",
    "offsets": "detector.head.regression_head",
}


def small(name="fcos", width=32, image_size=SIDE, seed=0, **settings):
    torch.manual_seed(seed)
    model = TorchvisionDetector(name, 3, image_size, TimmPyramid("test_efficientnet", width, [2, 3]), **settings)
    with torch.no_grad():  # scores and boxes that differ, so that some are detections
        model.detector.head.classification_head.cls_logits.weight.mul_(40)
        model.detector.head.classification_head.cls_logits.bias.fill_(-2)
        model.detector.head.regression_head.bbox_reg.weight.mul_(20)
    return model


def whole(name, seed=0):
    torch.manual_seed(seed)
    model = TorchvisionDetector(name, 3, SIDE)
    if name.startswith("ssd"):
        with torch.no_grad():
            for parameter in model.detector.head.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape))
    return model


def batch(samples=3, image_size=SIDE, canvas=(SIDE, SIDE), marked=None):
    rows = torch.tensor([canvas[1], canvas[0], canvas[1], canvas[0]])
    shares = [[[0.1, 0.1, 0.6, 0.5], [0.3, 0.4, 0.9, 1.0]], [], [[0.5, 0.0, 1.0, 0.7]], [[0.0, 0.2, 0.4, 0.6]]]
    marked = [True] * samples if marked is None else marked
    boxes = [
        torch.tensor(shares[n % 4]).reshape(-1, 4) * rows if marked[n] else torch.zeros(0, 4) for n in range(samples)
    ]
    return {
        "image": torch.randn(samples, 3, image_size, image_size, generator=torch.Generator().manual_seed(1)),
        "boxes": boxes,
        "box_classes": [torch.arange(len(each)) + n % 2 for n, each in enumerate(boxes)],
        "marked": torch.tensor(marked),
        "image_size": canvas,
    }


def losses(outputs):
    return {name: x for name, x in outputs.items() if name.startswith("loss/")}


class Ready(nn.Module):
    """In the place of torchvision's transform: pictures are prepared already, and stay as large as they are."""

    def forward(self, images, targets=None):
        return ImageList(torch.stack(images), [tuple(images[0].shape[1:])] * len(images)), targets

    def postprocess(self, found, *sizes):
        return found


def torchvisions(model, part, training):
    """What torchvision's own forward pass gives for fully marked pictures."""
    detector = copy.deepcopy(model.detector)
    detector.transform = Ready()
    limits = model.limits
    detector.score_thresh, detector.nms_thresh, detector.detections_per_img = (
        limits.score_threshold,
        limits.overlap,
        limits.most,
    )
    detector.topk_candidates = 10_000
    first = model.family.background
    targets = [
        {"boxes": boxes, "labels": classes + first}
        for boxes, classes in zip(part["boxes"], part["box_classes"], strict=True)
    ]
    return detector.train(training)(list(part["image"]), targets if training else None)


ALL = {
    "fcos": lambda: small("fcos"),
    "retinanet": lambda: small("retinanet"),
    "ssdlite320_mobilenet_v3_large": lambda: whole("ssdlite320_mobilenet_v3_large"),
    "fasterrcnn_mobilenet_v3_large_320_fpn": lambda: whole("fasterrcnn_mobilenet_v3_large_320_fpn"),
}


@pytest.mark.parametrize("name", ALL)
def test_losses_are_torchvisions(name):
    model, part = ALL[name](), batch()
    torch.manual_seed(3)  # Faster R-CNN draws the boxes that its loss is of
    expected = torchvisions(model, part, training=True)
    torch.manual_seed(3)
    found = losses(model.train()(part))
    assert set(found) == {f"loss/{part.removeprefix('loss_')}" for part in expected}
    assert set(found) == {f"loss/{part}" for part in model.family.parts}
    for part_name, value in expected.items():
        torch.testing.assert_close(found[f"loss/{part_name.removeprefix('loss_')}"], value)


@pytest.mark.parametrize("name", ALL)
def test_detections_are_torchvisions(name, monkeypatch):
    monkeypatch.setattr("kdmm.models.detection.suppression.CANDIDATES", 10_000)  # torchvision counts them by level
    model, part = ALL[name](), batch()
    expected = torchvisions(model, part, training=False)
    outputs = model.eval()(part)
    for row, each in enumerate(expected):
        found = outputs["detections"][row][outputs["valid/detections"][row]]
        classes = each["labels"] - model.family.background
        theirs = torch.cat([each["boxes"], each["scores"][:, None], classes[:, None]], 1)
        assert len(found) == len(theirs) > (0 if model.family.gives == frozenset() else 3)
        assert (found[:-1, 4] >= found[1:, 4]).all()
        torch.testing.assert_close(in_order(found), in_order(theirs), rtol=1e-4, atol=1e-3)
        assert (outputs["detections"][row][~outputs["valid/detections"][row]] == 0).all()


def in_order(rows):
    """Detections in an order that does not depend on which of equal scores came first."""
    return torch.tensor(sorted(rows.tolist(), key=lambda row: [round(x, 2) for x in (row[4], row[5], *row[:4])]))


def test_in_evaluation_there_are_losses_too_and_in_training_no_detections():
    model, part = small(), batch()
    trained, evaluated = model.train()(part), model.eval()(part)
    assert losses(trained).keys() == losses(evaluated).keys()
    assert evaluated.keys() - trained.keys() == {"detections", "present/detections", "valid/detections"}
    for name, value in losses(evaluated).items():
        assert value > 0, name


@pytest.mark.parametrize("name", ["fcos", "retinanet", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_only_marked_pictures_have_losses(name):
    model = ALL[name]().eval()
    some = batch(4, marked=[True, False, True, False])
    alone = batch(4, marked=[True, True, True, True])
    alone = {k: [alone[k][0], alone[k][2]] if k.startswith("box") else alone[k] for k in alone}
    alone["image"], alone["marked"] = alone["image"][[0, 2]], torch.ones(2, dtype=torch.bool)
    expected = losses(model(alone))
    for part, value in losses(model(some)).items():
        torch.testing.assert_close(value, expected[part])


@pytest.mark.parametrize("name", ["fcos", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_where_nothing_is_marked_the_loss_is_zero_with_gradients_of_zero(name):
    model = ALL[name]().train()
    outputs = model(batch(marked=[False] * 3))
    assert set(losses(outputs)) == {f"loss/{part}" for part in model.family.parts}
    assert all(value == 0 for value in losses(outputs).values())
    OwnLoss()(outputs, {}, {}).backward()
    reached = [p.grad for p in model.detector.backbone.parameters() if p.grad is not None]
    assert reached
    assert all((gradient == 0).all() for gradient in reached)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("number", [3, -1])
def test_a_class_that_the_detector_lacks_is_named(name, number):
    part = batch()
    part["box_classes"][0][1] = number
    said = rf"TorchvisionDetector\.classes: 3 given, .*a box is of the class {number}\. Give as many as"
    for mode in (True, False):
        with pytest.raises(InputError, match=said):
            ALL[name]().train(mode)(part)


def test_without_a_canvas_there_are_no_losses_and_boxes_are_in_the_detectors_pixels():
    model, part = small().eval(), batch()
    plain = model({"image": part["image"]})
    assert not losses(plain)
    assert torch.equal(plain["detections"], model(part)["detections"])


def test_boxes_are_in_pixels_of_the_canvas():
    model = small().eval()
    same, other = model(batch()), model(batch(canvas=(64, 128)))
    scale = torch.tensor([4.0, 2.0, 4.0, 2.0])
    for name in ("anchor_boxes", "anchors"):
        torch.testing.assert_close(other[name], same[name] * scale)
    torch.testing.assert_close(other["detections"][..., :4], same["detections"][..., :4] * scale)
    assert torch.equal(other["detections"][..., 4:], same["detections"][..., 4:])
    assert torch.equal(other["class_logits"], same["class_logits"])
    for part, value in losses(same).items():  # the marks are the same shares of the picture
        torch.testing.assert_close(losses(other)[part], value)


def test_rows_of_samples_without_a_picture_are_zero_and_said_to_be_absent():
    model, part = small().eval(), batch(2)
    flag = torch.tensor([False, True, False, True])
    empty = torch.zeros(0, 4)
    spread = {
        **part,
        "present/image": flag,
        "boxes": [empty, part["boxes"][0], empty, part["boxes"][1]],
        "box_classes": [empty[:, 0].long(), part["box_classes"][0], empty[:, 0].long(), part["box_classes"][1]],
        "marked": torch.tensor([False, True, False, True]),
    }
    expected, outputs = model(part), model(spread)
    for name in ("class_logits", "anchor_boxes", "anchors", "detections"):
        assert torch.equal(outputs[f"present/{name}"], flag)
        assert torch.equal(outputs[name][flag], expected[name])
        assert (outputs[name][~flag] == 0).all()
    assert not outputs["valid/detections"][~flag].any()
    for name, value in losses(expected).items():
        torch.testing.assert_close(outputs[name], value)
    with pytest.raises(InputError, match="none of a batch's samples has a picture"):
        model({"present/image": torch.zeros(2, dtype=torch.bool)})


@pytest.mark.parametrize("name", ["fcos", "retinanet"])
def test_inner_layers_are_tapped_alike_in_training_and_evaluation(name):
    part = batch(4, marked=[True, False, True, False]) | {"present/image": torch.tensor([True, True, True, True])}
    student, teacher = Tapped(small(name, 32), TAPS).train(), Tapped(small(name, 64, seed=1), TAPS).eval()
    ours, theirs = student(part), teacher(part)
    assert ours["p0"].shape == (4, 32, 8, 8)
    assert theirs["p0"].shape == (4, 64, 8, 8)
    anchors = (8 * 8 + 4 * 4) * (9 if name == "retinanet" else 1)
    for outputs in (ours, theirs, student.eval()(part)):
        assert outputs["classes"].shape == (4, anchors, 3)
        assert outputs["offsets"].shape == (4, anchors, 4)
        if name == "retinanet":
            assert torch.equal(outputs["classes"], outputs["class_logits"])
    assert ours["p0"].requires_grad
    assert torch.equal(ours["anchors"], theirs["anchors"])


def test_a_two_stage_detector_is_tapped_at_its_pyramid():
    taps = {"p0": "detector.backbone.fpn.layer_blocks.0"}
    model = Tapped(whole("fasterrcnn_mobilenet_v3_large_320_fpn"), taps)
    shapes = {model.train(mode)(batch())["p0"].shape for mode in (True, False)}
    assert shapes == {(3, 256, 1, 1)}


def test_measuring_changes_no_modes_and_no_randomness():
    model = whole("fasterrcnn_mobilenet_v3_large_320_fpn").eval()
    state = torch.get_rng_state()
    first, second = (losses(model(batch())) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert first == second
    assert not any(module.training for module in model.modules())


def test_fcos_logits_give_the_geometric_mean_of_class_score_and_centreness():
    taps = {"classes": TAPS["classes"], "middle": {"module": TAPS["offsets"], "output": 1}}
    outputs = Tapped(small().eval(), taps)(batch())
    expected = (outputs["classes"].sigmoid() * outputs["middle"].sigmoid()).sqrt()
    torch.testing.assert_close(outputs["class_logits"].sigmoid(), expected)
    assert outputs["detections"][..., 4].max() == outputs["class_logits"].sigmoid().max()


def test_ssds_logits_give_its_scores_by_a_sigmoid():
    model = Tapped(whole("ssdlite320_mobilenet_v3_large").eval(), {"all": "detector.head.classification_head"})
    outputs = model(batch())
    expected = outputs["all"].softmax(-1)[..., 1:]
    torch.testing.assert_close(outputs["class_logits"].sigmoid(), expected)
    logits = torch.tensor([[[-30.0, 30.0, -30.0]]])
    certain = model.model.family.logits({"cls_logits": logits})
    assert certain.isfinite().all()
    assert certain.sigmoid().flatten().tolist() == pytest.approx([1.0, 0.0], abs=1e-5)


def test_a_detector_learns_two_pictures_by_heart():
    torch.manual_seed(0)
    model = TorchvisionDetector("fcos", 2, SIDE, TimmPyramid("test_efficientnet", 32, [2, 3]), score_threshold=0.3)
    part = batch(2)
    part["image"] = torch.zeros(2, 3, SIDE, SIDE)
    part["boxes"] = [torch.tensor([[4.0, 6.0, 20.0, 18.0]]), torch.tensor([[10.0, 12.0, 30.0, 30.0]])]
    part["box_classes"] = [torch.tensor([0]), torch.tensor([1])]
    for row, box in enumerate(part["boxes"]):
        left, top, right, bottom = box[0].int().tolist()
        part["image"][row, row, top:bottom, left:right] = 2.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        OwnLoss()(model(part), {}, part).backward()
        optimizer.step()
    for module in model.modules():  # two pictures are few for running statistics
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
    outputs = model.eval()(part)
    for row in range(2):
        best = outputs["detections"][row, 0]
        assert outputs["valid/detections"][row, 0]
        assert best[5] == row
        torch.testing.assert_close(best[:4], part["boxes"][row][0], rtol=0, atol=3.0)


def test_weights_of_another_number_of_classes_begin_the_class_layer_anew(tmp_path):
    given = TorchvisionDetector("retinanet", 91, SIDE, TimmPyramid("test_efficientnet", 16, [2, 3]))
    torch.save(given.detector.state_dict(), tmp_path / "coco.pth")
    torch.manual_seed(7)
    model = TorchvisionDetector(
        "retinanet", 3, SIDE, TimmPyramid("test_efficientnet", 16, [2, 3]), weights=str(tmp_path / "coco.pth")
    )
    state, expected = model.detector.state_dict(), given.detector.state_dict()
    for name, value in state.items():
        assert ("cls_logits" in name) != (value.shape == expected[name].shape and torch.equal(value, expected[name]))
    prior = -math.log((1 - 0.01) / 0.01)
    assert torch.allclose(state["head.classification_head.cls_logits.bias"], torch.tensor(prior))
    for name, width in (("retinanet", 8), ("fcos", 32)):
        with pytest.raises(InputError, match=r"coco\.pth' does not fit this detector .* of the same `name`"):
            TorchvisionDetector(
                name, 3, SIDE, TimmPyramid("test_efficientnet", width, [2, 3]), weights=str(tmp_path / "coco.pth")
            )


class Chosen(TorchvisionDetector):
    """Of somebody else, by names of their own."""

    def __init__(self, name: str, classes: int, image_size: int) -> None:
        super().__init__({"large": "ssd300_vgg16"}[name], classes + 2, image_size)


class Renamed(TorchvisionDetector):
    """Of somebody else, made as kdmm's."""


class Judged(TorchvisionDetector):
    """Of somebody else, made as kdmm's and judged otherwise."""

    @staticmethod
    def check_arguments(arguments):
        raise InputError(f"{arguments['classes']} classes, of which I know nothing")


def test_it_says_what_it_gives_and_reads():
    dense = {"class_logits", "anchor_boxes", "anchors", "detections"}
    assert TorchvisionDetector.gives({"name": "fcos"}) == dense
    assert TorchvisionDetector.gives({"name": "ssdlite320_mobilenet_v3_large"}) == dense
    assert TorchvisionDetector.gives({"name": "fasterrcnn_resnet50_fpn"}) == {"detections"}
    assert TorchvisionDetector.gives({"name": "yolo"}) is None
    model = small()
    assert model.preprocess.marks
    assert (model.preprocess.image.size, model.preprocess.image.resize_mode) == (SIDE, "squash")


def test_the_levels_of_a_pyramid_have_the_strides_and_channels_that_it_says():
    backbone = TimmPyramid("test_efficientnet", 8, [2, 4])
    assert (backbone.strides, backbone.out_channels) == ((4, 16), 8)
    maps = backbone(torch.zeros(2, 3, 64, 48))
    assert [tuple(x.shape) for x in maps.values()] == [(2, 8, 16, 12), (2, 8, 4, 3)]
    assert not any("blocks.4" in name for name, _ in backbone.named_parameters())  # what no level needs is left out


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "fcos_resnet50"}, r"'fcos_resnet50' is no detector known here.*Did you mean 'fcos_resnet50_fpn'"),
        ({"name": "fcos"}, "'fcos' needs a `backbone`"),
        ({"name": "fcos_resnet50_fpn", "backbone": 32}, "'fcos_resnet50_fpn' has a backbone of its own"),
        ({"name": "fcos", "backbone": 24}, "24 channels, and FCOS needs a multiple of 32"),
        ({"name": "fcos", "backbone": 32, "classes": 0}, "classes: 0 given"),
        ({"name": "fcos", "backbone": 32, "anchor_sizes": [8]}, r"anchor_sizes: \[8\] given; .*2 levels"),
        ({"name": "ssd300_vgg16", "anchor_sizes": [8]}, "has its own. Leave them out"),
        ({"name": "fcos", "backbone": 32, "overlap": 0}, "overlap 0, detections 100"),
        ({"name": "fcos", "backbone": 32, "weights": "nowhere.pth"}, r"'nowhere\.pth' is no file"),
    ],
)
def test_settings_that_make_no_detector_are_refused(settings, words):
    width = settings.get("backbone")
    backbone = None if width is None else TimmPyramid("test_efficientnet", width, [2, 3])
    with pytest.raises(InputError, match=words):
        TorchvisionDetector(**{"classes": 3, "image_size": SIDE, **settings, "backbone": backbone})


def test_kdmm_check_finds_a_wrong_name_number_and_backbone_at_once():
    wrong = {"_target_": "kdmm.models.TimmPyramid", "name": "test_efficientnets"}
    detector = {"_target_": "kdmm.models.TorchvisionDetector", "image_size": SIDE, "classes": 3}
    found = check([{**detector, "name": "fcos", "classes": 0, "backbone": wrong}, {**detector, "name": "fcoss"}], "m")
    said = [
        ("m.0.backbone", "TimmPyramid.name: timm has no model 'test_efficientnets'. Did you mean 'test_efficientnet"),
        ("m.0", "TorchvisionDetector.classes: 0 given"),
        ("m.1", "TorchvisionDetector.name: 'fcoss' is no detector known here"),
    ]
    assert len(found) == len(said)
    for problem, (path, words) in zip(found, said, strict=True):
        assert problem.path == path
        assert problem.found.startswith(words)


def test_a_detector_derived_from_this_one_may_mean_other_things_by_its_name():
    node = {"_target_": f"{__name__}.Chosen", "name": "large", "classes": 0, "image_size": SIDE}
    allow = [__name__.partition(".")[0]]
    assert check(node, allow=allow) == []
    (found,) = check({**node, "_target_": f"{__name__}.Renamed"}, allow=allow)
    assert "'large' is no detector known here" in found.found
    (found,) = check({**node, "_target_": f"{__name__}.Judged"}, allow=allow)
    assert found.found == "0 classes, of which I know nothing"


def test_what_is_built_for_an_argument_is_not_judged_before():
    number = {"_target_": "kdmm.data.ClassNames", "source": {"_target_": "kdmm.data.Digits"}, "label": "digit"}
    detector = {"_target_": "kdmm.models.TorchvisionDetector", "name": "fcoss", "image_size": SIDE}
    assert not any("fcoss" in each.found for each in check({**detector, "classes": number}))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "test_efficientnets"}, "TimmPyramid.name: timm has no model"),
        ({"stages": [3, 2]}, "rising numbers"),
        ({"stages": []}, "rising numbers"),
        ({"stages": [4, 9]}, "has 1 to 5 stages"),
        ({"width": 0}, "width: 0 given"),
    ],
)
def test_stages_that_a_network_lacks_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        TimmPyramid(**{"name": "test_efficientnet", **settings})


def test_of_overlapping_boxes_of_a_class_the_best_is_left():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 99], [0, 0, 10, 9]]])
    scores = torch.tensor([[[0.9, 0.0], [0.8, 0.1], [0.7, 0.6], [0.2, 0.95]]])
    found, there = detections_of(scores, boxes, (40, 40), 0.15, 0.5, 5)
    expected = [[0, 0, 10, 9, 0.95, 1], [0, 0, 10, 10, 0.9, 0], [20, 20, 30, 40, 0.7, 0], [20, 20, 30, 40, 0.6, 1]]
    torch.testing.assert_close(found[there], torch.tensor(expected))
    assert there.tolist() == [[True] * 4 + [False]]
    most, there = detections_of(scores, boxes, (40, 40), 0.15, 0.5, 2)
    assert most[0, :, 4].tolist() == pytest.approx([0.95, 0.9])
    nothing, there = detections_of(scores, boxes, (40, 40), 0.99, 0.5, 2)
    assert not there.any()
    assert (nothing == 0).all()


def test_pictures_do_not_suppress_each_other():
    boxes = torch.tensor([[[0.0, 0, 10, 10]], [[0.0, 0, 10, 10]]])
    found, there = detections_of(torch.full((2, 1, 1), 0.5), boxes, (40, 40), 0.1, 0.5, 3)
    assert there.sum(1).tolist() == [1, 1]
    rows, there = padded([torch.ones(4, 6), torch.zeros(0, 6)], 2, found)
    assert there.tolist() == [[True, True], [False, False]]
    assert rows.sum((1, 2)).tolist() == [12, 0]
