"""Models: anything with ``forward(batch) -> Outputs`` and ``.preprocess``."""

from kdmm.models.artifact import load_model, save_model
from kdmm.models.dual_encoder import DualEncoder
from kdmm.models.embed import embed_images, embed_texts
from kdmm.models.open_clip import OpenClip
from kdmm.models.preprocess import ImageTransform, OpenClipTokens, Preprocess, TransformerTokens
from kdmm.models.towers import BagOfTokens, ImageTower, TextTower, TimmImage, TransformerText

__all__ = [
    "BagOfTokens",
    "DualEncoder",
    "ImageTower",
    "ImageTransform",
    "OpenClip",
    "OpenClipTokens",
    "Preprocess",
    "TextTower",
    "TimmImage",
    "TransformerText",
    "TransformerTokens",
    "embed_images",
    "embed_texts",
    "load_model",
    "save_model",
]
