"""Models of open_clip as dual encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import torch
from jaxtyping import Float, Int
from open_clip.transformer import TextTransformer
from torch import Tensor, nn

from kdmm.errors import InputError, nearest
from kdmm.models.dual_encoder import DualEncoder
from kdmm.models.named_tokens import OpenClipTokens, answer_places, open_clip_text_settings
from kdmm.models.preprocess import ImageTransform
from kdmm.models.taps import TapPoint
from kdmm.models.towers import ImageTower, TextTower

__all__ = ["OpenClip"]


class _OpenClipImage(ImageTower):
    def __init__(self, visual: nn.Module, width: int, preprocess: ImageTransform) -> None:
        super().__init__()
        self.visual = visual.to(memory_format=torch.channels_last)
        self.width = width
        self.preprocess = preprocess

    def forward(self, image: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N width"]:
        return _pooled(self.visual(image.contiguous(memory_format=torch.channels_last)))


class _OpenClipText(TextTower):
    def __init__(self, text: nn.Module, width: int, preprocess: OpenClipTokens) -> None:
        super().__init__()
        self.text: Any = text
        self.width = width
        self.preprocess = preprocess
        self.settings = open_clip_text_settings(preprocess.architecture)
        self.states = TapPoint()
        if isinstance(text, TextTransformer):
            text.transformer.register_forward_pre_hook(_cut_mask, with_kwargs=True)

    def forward(self, text: Int[Tensor, "N T"]) -> Float[Tensor, "N width"]:
        if not self.states.is_tapped:
            return _pooled(self.text(text))
        gives_tokens, self.text.output_tokens = self.text.output_tokens, True
        try:
            pooled, tokens = self.text(text)
        finally:
            self.text.output_tokens = gives_tokens
        read = torch.arange(text.shape[1], device=text.device) <= answer_places(self.settings, text)[:, None]
        self.states(tokens, read)
        found: Tensor = pooled
        return found


def _pooled(found: Any) -> Tensor:
    """Return a tower's answer alone: CoCa's also give their tokens."""
    pooled: Tensor = found[0] if isinstance(found, tuple) else found
    return pooled


def _cut_mask(
    transformer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Cut the causal mask, which is as long as the context, to the texts' length; open_clip does not."""
    mask, length = named.get("attn_mask"), arguments[0].shape[1]
    if mask is not None:
        named = {**named, "attn_mask": mask[..., :length, :length]}
    return arguments, named


def OpenClip(  # noqa: N802  a model to its users, who write it beside DualEncoder in YAML
    architecture: str, weights: str | None = None, freeze: tuple[str, ...] | list[str] = ()
) -> DualEncoder:
    """Build any image-text model of open_clip.

    The last states of its text tower's tokens can be tapped (:class:`kdmm.models.Tapped`) as ``towers.text.states``
    (N, T, width), with ``valid/<tap>`` for those up to the end of the text.

    Args:
        architecture: a name of ``open_clip.list_models()``, ``hf-hub:<organisation>/<name>``, or ``local-dir:<folder>``
            (a folder with ``open_clip_config.json``).
        weights: a tag of ``open_clip.list_pretrained()`` or the path of a checkpoint; ``None`` builds a named
            architecture with random weights. ``hf-hub:`` and ``local-dir:`` bring their own.
        freeze: towers that are not trained.

    Raises:
        InputError: an unknown architecture or tag, weights that cannot be found or fetched, or settings that ask to run
            Python files of their own.
    """
    schema = architecture.partition(":")[0] if ":" in architecture else None
    if schema not in (None, "hf-hub", "local-dir"):
        raise InputError(f"OpenClip.architecture: {architecture!r} begins with neither 'hf-hub:' nor 'local-dir:'.")
    if schema is None and architecture not in open_clip.list_models():
        raise InputError(
            f"OpenClip.architecture: open_clip has no {architecture!r}."
            + nearest(architecture, open_clip.list_models())
        )
    tags = open_clip.list_pretrained_tags_by_model(architecture) if schema is None else []
    if schema is None and weights is not None and weights not in tags and not Path(weights).exists():
        raise InputError(
            f"OpenClip.weights: {weights!r} is neither a file nor one of the tags of {architecture!r}: "
            f"{', '.join(tags) or 'none'}." + nearest(weights, tags)
        )
    if schema is not None and weights is not None:
        raise InputError(f"OpenClip.weights: {architecture!r} brings its own weights; leave `weights` out.")
    open_clip_text_settings(architecture)  # refuses what the tokenizer would refuse, before anything is built
    try:
        model = open_clip.create_model(
            architecture,
            pretrained=weights,
            force_custom_text=True,  # one layout, `.visual` and `.text`, for every architecture
            require_pretrained=schema is not None or weights is not None,
        )
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise InputError(
            f"OpenClip: {architecture!r} with weights {weights!r} could not be loaded ({error}). Without a network, "
            "give the path of a checkpoint as `weights`, or 'local-dir:<folder>' as `architecture`."
        ) from error
    cfg = open_clip.get_model_preprocess_cfg(model)
    size = cfg.get("size", 224)
    transform = ImageTransform(
        size=size if isinstance(size, int) else int(size[0]),
        mean=tuple(cfg["mean"]),
        std=tuple(cfg["std"]),
        interpolation=cfg.get("interpolation", "bicubic"),
        resize_mode=cfg.get("resize_mode", "shortest"),
    )
    width = int(model.text.output_dim)
    dual = DualEncoder(
        _OpenClipImage(model.visual, width, transform),
        _OpenClipText(model.text, width, OpenClipTokens(architecture)),
        freeze=freeze,
        weights_from=weights or (architecture if schema else None),
        init_logit_bias=None if model.logit_bias is None else float(model.logit_bias),
    )
    dual.log_logit_scale.data.copy_(model.logit_scale.data)
    return dual


OpenClip.gives = DualEncoder.gives  # type: ignore[attr-defined]  # read by the check that runs before anything is built
