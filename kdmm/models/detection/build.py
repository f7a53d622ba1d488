"""Building torchvision's detectors: with their own backbones or on any other, and with weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torchvision.models import detection

from kdmm.errors import InputError, nearest
from kdmm.models.detection.pyramid import Backbone
from kdmm.models.files import read_state

__all__ = ["check", "load", "on_backbone", "whole"]

WHOLE = (
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "ssdlite320_mobilenet_v3_large",
    "ssd300_vgg16",
)
"""Torchvision's detectors with their own backbones."""
BY_BACKBONE = ("fcos", "retinanet")
"""Those that are built on any backbone."""
OF_CLASSES = ("cls_logits", "classification_head.module_list", "box_predictor")
"""Parts of the names of the layers whose size is the number of classes."""
GROUPS = 32  # of torchvision's FCOS heads, whose group norm has as many
SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
RATIOS = (0.5, 1.0, 2.0)
"""Of RetinaNet's nine anchors a place, with the scales; from the paper."""


def check(name: str, classes: int, backbone: object, anchor_sizes: Sequence[int] | None) -> None:
    """Refuse settings that make no detector.

    Args:
        name: as for :class:`kdmm.models.TorchvisionDetector`, like the others.
        classes: C.
        backbone: built or not; ``None``: there is none.
        anchor_sizes: given, or ``None``.

    Raises:
        InputError: they do not.
    """
    known = WHOLE if backbone is None else BY_BACKBONE
    if name not in known:
        other = name in BY_BACKBONE or name in WHOLE
        wants = "needs a `backbone`" if backbone is None else "has a backbone of its own"
        reason = wants if other else "is no detector known here"
        raise InputError(
            f"TorchvisionDetector.name: {name!r} {reason}. With {'no' if backbone is None else 'a'} `backbone`, give "
            f"{' or '.join(known)}." + ("" if other else nearest(name, known))
        )
    if classes < 1:
        raise InputError(f"TorchvisionDetector.classes: {classes} given; give 1 or more.")
    if backbone is None and anchor_sizes is not None:
        raise InputError(f"TorchvisionDetector.anchor_sizes: given, but {name!r} has its own. Leave them out.")


def whole(name: str, number: int, arguments: Mapping[str, Any]) -> Any:
    """Return a detector with its own backbone, at random.

    Args:
        name: of torchvision's constructor.
        number: of its classes, with the background where it has one.
        arguments: further ones.
    """
    return detection.__dict__[name](weights=None, weights_backbone=None, num_classes=number, **arguments)


def on_backbone(name: str, number: int, backbone: Backbone, anchor_sizes: Sequence[int] | None) -> Any:
    """Return ``fcos`` or ``retinanet`` on a backbone.

    Args:
        name: which.
        number: of its classes.
        backbone: gives maps by level.
        anchor_sizes: of each level, pixels; ``None``: by the levels' strides.

    Raises:
        InputError: not one size a level, or FCOS cannot stand on so many channels.
    """
    if name == "fcos" and backbone.out_channels % GROUPS:
        raise InputError(
            f"TorchvisionDetector.backbone: its maps have {backbone.out_channels} channels, and FCOS needs a multiple "
            f"of {GROUPS}, for its group norms. Set another width, or take retinanet."
        )
    sizes = _sizes(name, backbone, anchor_sizes)
    make = detection.anchor_utils.AnchorGenerator
    if name == "fcos":
        anchors = make(tuple((size,) for size in sizes), ((1.0,),) * len(sizes))
        return detection.FCOS(backbone, number, anchor_generator=anchors)
    scaled = tuple(tuple(round(size * scale) for scale in SCALES) for size in sizes)
    return detection.RetinaNet(backbone, number, anchor_generator=make(scaled, (RATIOS,) * len(sizes)))


def load(detector: nn.Module, weights: str) -> None:
    """Load a file of the whole detector, but for the layers of another number of classes.

    Args:
        detector: of torchvision.
        weights: a path or ``package:<module>/<path>``.

    Raises:
        InputError: no such file, or it is of another detector.
    """
    state, own = read_state(weights), detector.state_dict()
    for name in [name for name in state if any(part in name for part in OF_CLASSES)]:
        if name in own and state[name].shape != own[name].shape:
            state[name] = own[name]
    try:
        missing, _ = detector.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise _unfit(weights, str(error).strip().splitlines()[-1].strip()) from error
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]  # frozen norms count nothing
    if missing:
        raise _unfit(weights, f"{len(missing)} tensors are missing, first {missing[0]!r}")


def _sizes(name: str, backbone: Backbone, anchor_sizes: Sequence[int] | None) -> list[int]:
    if anchor_sizes is None:
        return [stride * (1 if name == "fcos" else 4) for stride in backbone.strides]
    if len(anchor_sizes) != len(backbone.strides) or min(anchor_sizes) < 1:
        raise InputError(
            f"TorchvisionDetector.anchor_sizes: {list(anchor_sizes)} given; give one of 1 pixel or more for each of "
            f"the backbone's {len(backbone.strides)} levels."
        )
    return list(anchor_sizes)


def _unfit(weights: str, reason: str) -> InputError:
    return InputError(
        f"TorchvisionDetector.weights: {weights!r} does not fit this detector ({reason}). Give a file of the same "
        "`name`."
    )
