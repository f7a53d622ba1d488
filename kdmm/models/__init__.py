"""Models: anything with ``forward(batch) -> Outputs`` and ``.preprocess``."""

from kdmm.models.artifact import load_model, save_model
from kdmm.models.classifier import Classifier
from kdmm.models.conv_image import ConvImage
from kdmm.models.dual_encoder import DualEncoder
from kdmm.models.embed import embed_images, embed_texts
from kdmm.models.inherited import Inherited
from kdmm.models.open_clip import OpenClip
from kdmm.models.plain import Plain
from kdmm.models.preprocess import ImageTransform, OpenClipTokens, Preprocess, TransformerTokens
from kdmm.models.tapped import Tapped, retapped, untapped, untapped_tree
from kdmm.models.taps import Tap
from kdmm.models.towers import BagOfTokens, ImageTower, TextTower, TimmImage, TransformerText
from kdmm.models.twice import Twice

__all__ = [
    "BagOfTokens",
    "Classifier",
    "ConvImage",
    "DualEncoder",
    "ImageTower",
    "ImageTransform",
    "Inherited",
    "OpenClip",
    "OpenClipTokens",
    "Plain",
    "Preprocess",
    "Tap",
    "Tapped",
    "TextTower",
    "TimmImage",
    "TransformerText",
    "TransformerTokens",
    "Twice",
    "embed_images",
    "embed_texts",
    "load_model",
    "retapped",
    "save_model",
    "untapped",
    "untapped_tree",
]
