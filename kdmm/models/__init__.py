"""Models: anything with ``forward(batch) -> Outputs`` and ``.preprocess``."""

from kdmm.models.artifact import load_model, save_model
from kdmm.models.audio import AstLogMel, ClapLogMel, LibrosaLogMel, LogMel, Waveform, WhisperLogMel
from kdmm.models.audio.aisfx import AiSfx
from kdmm.models.audio.clap import Clap, ClapAudio, ClapText
from kdmm.models.audio.mel_cnn import MelCNN
from kdmm.models.audio.timm_audio import TimmAudio
from kdmm.models.audio.transformers_audio import TransformersAudio
from kdmm.models.captioner import Captioner
from kdmm.models.chunked import Chunked
from kdmm.models.classifier import Classifier
from kdmm.models.conv_image import ConvImage
from kdmm.models.detection.pyramid import TimmPyramid
from kdmm.models.dual_encoder import DualEncoder
from kdmm.models.embed import embed_images, embed_media, embed_sounds, embed_texts
from kdmm.models.inherited import Inherited
from kdmm.models.locked_towers import LockedTowers
from kdmm.models.map_encoder import MapEncoder, TimmMaps
from kdmm.models.masked import Masked
from kdmm.models.masked_lm import MaskedLM
from kdmm.models.named_tokens import OpenClipTokens, TransformerTokens
from kdmm.models.open_clip import OpenClip
from kdmm.models.over_frames import OverFrames
from kdmm.models.plain import Plain
from kdmm.models.preprocess import ImageTransform, Preprocess
from kdmm.models.segmenter import Segmenter
from kdmm.models.seq2seq import PretrainedSeq2Seq, Seq2Seq
from kdmm.models.shared_space import SharedSpace
from kdmm.models.shifted import Shifted
from kdmm.models.tapped import Tapped, retapped, untapped, untapped_tree
from kdmm.models.taps import Tap, TapPoint
from kdmm.models.tokens import TextTokens, Tokens
from kdmm.models.torchvision_detector import TorchvisionDetector
from kdmm.models.torchvision_segmenter import TorchvisionSegmenter
from kdmm.models.towers import AudioTower, BagOfTokens, ImageTower, TextTower, TimmImage, TransformerText, VideoTower
from kdmm.models.towers.attention_frames import AttentionFrames
from kdmm.models.towers.frames import FrameTower, MeanFrames
from kdmm.models.towers.lstm import LstmText
from kdmm.models.towers.transformer_frames import TransformerFrames
from kdmm.models.twice import Twice
from kdmm.models.video import Frames, RandomFrames, VideoClip
from kdmm.models.video_space import VideoSpace
from kdmm.models.writing import EncoderDecoder, FramePlaces, Memory, Places, TextDecoder, TransformerDecoder, Writer

__all__ = [
    "AiSfx",
    "AstLogMel",
    "AttentionFrames",
    "AudioTower",
    "BagOfTokens",
    "Captioner",
    "Chunked",
    "Clap",
    "ClapAudio",
    "ClapLogMel",
    "ClapText",
    "Classifier",
    "ConvImage",
    "DualEncoder",
    "EncoderDecoder",
    "FramePlaces",
    "FrameTower",
    "Frames",
    "ImageTower",
    "ImageTransform",
    "Inherited",
    "LibrosaLogMel",
    "LockedTowers",
    "LogMel",
    "LstmText",
    "MapEncoder",
    "Masked",
    "MaskedLM",
    "MeanFrames",
    "MelCNN",
    "Memory",
    "OpenClip",
    "OpenClipTokens",
    "OverFrames",
    "Places",
    "Plain",
    "Preprocess",
    "PretrainedSeq2Seq",
    "RandomFrames",
    "Segmenter",
    "Seq2Seq",
    "SharedSpace",
    "Shifted",
    "Tap",
    "TapPoint",
    "Tapped",
    "TextDecoder",
    "TextTokens",
    "TextTower",
    "TimmAudio",
    "TimmImage",
    "TimmMaps",
    "TimmPyramid",
    "Tokens",
    "TorchvisionDetector",
    "TorchvisionSegmenter",
    "TransformerDecoder",
    "TransformerFrames",
    "TransformerText",
    "TransformerTokens",
    "TransformersAudio",
    "Twice",
    "VideoClip",
    "VideoSpace",
    "VideoTower",
    "Waveform",
    "WhisperLogMel",
    "Writer",
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
