"""Models: anything with ``forward(batch) -> Outputs`` and ``.preprocess``."""

from kdmm.models.artifact import load_model, save_model
from kdmm.models.audio import AstLogMel, ClapLogMel, LibrosaLogMel, LogMel, Waveform, WhisperLogMel
from kdmm.models.audio.aisfx import AiSfx
from kdmm.models.audio.clap import Clap, ClapAudio, ClapText
from kdmm.models.audio.mel_cnn import MelCNN
from kdmm.models.audio.timm_audio import TimmAudio
from kdmm.models.audio.transformers_audio import TransformersAudio
from kdmm.models.chunked import Chunked
from kdmm.models.classifier import Classifier
from kdmm.models.conv_image import ConvImage
from kdmm.models.dual_encoder import DualEncoder
from kdmm.models.embed import embed_images, embed_media, embed_sounds, embed_texts
from kdmm.models.inherited import Inherited
from kdmm.models.masked import Masked
from kdmm.models.open_clip import OpenClip
from kdmm.models.plain import Plain
from kdmm.models.preprocess import ImageTransform, OpenClipTokens, Preprocess, TransformerTokens
from kdmm.models.shared_space import SharedSpace
from kdmm.models.shifted import Shifted
from kdmm.models.tapped import Tapped, retapped, untapped, untapped_tree
from kdmm.models.taps import Tap
from kdmm.models.towers import AudioTower, BagOfTokens, ImageTower, TextTower, TimmImage, TransformerText, VideoTower
from kdmm.models.twice import Twice
from kdmm.models.video import Frames, VideoClip

__all__ = [
    "AiSfx",
    "AstLogMel",
    "AudioTower",
    "BagOfTokens",
    "Chunked",
    "Clap",
    "ClapAudio",
    "ClapLogMel",
    "ClapText",
    "Classifier",
    "ConvImage",
    "DualEncoder",
    "Frames",
    "ImageTower",
    "ImageTransform",
    "Inherited",
    "LibrosaLogMel",
    "LogMel",
    "Masked",
    "MelCNN",
    "OpenClip",
    "OpenClipTokens",
    "Plain",
    "Preprocess",
    "SharedSpace",
    "Shifted",
    "Tap",
    "Tapped",
    "TextTower",
    "TimmAudio",
    "TimmImage",
    "TransformerText",
    "TransformerTokens",
    "TransformersAudio",
    "Twice",
    "VideoClip",
    "VideoTower",
    "Waveform",
    "WhisperLogMel",
    "embed_images",
    "embed_media",
    "embed_sounds",
    "embed_texts",
    "load_model",
    "retapped",
    "save_model",
    "untapped",
    "untapped_tree",
]
