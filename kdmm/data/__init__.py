"""Sources of pictures, sounds and captions, and the DataModule that makes batches of them."""

from kdmm.data.audio_caps import AudioCaps
from kdmm.data.audio_ref import AudioRef
from kdmm.data.audio_text import AudioTextDataModule
from kdmm.data.balanced import Balanced, ClassCounts
from kdmm.data.captioned import Captioned
from kdmm.data.clotho import Clotho
from kdmm.data.coco_captions import CocoCaptions
from kdmm.data.coco_detection import CocoDetection
from kdmm.data.composite import Composite
from kdmm.data.deep_forest import DeepForest
from kdmm.data.digits import Digits
from kdmm.data.domain_shift import DomainShift
from kdmm.data.embedded import embedded
from kdmm.data.emoji import Emoji
from kdmm.data.emoji_names import EmojiNames
from kdmm.data.esc50 import Esc50
from kdmm.data.fillets import Fillets
from kdmm.data.fluent_emoji import FluentEmoji
from kdmm.data.having import Having
from kdmm.data.illustrated import Illustrated
from kdmm.data.image_folder import ImageFolder
from kdmm.data.image_ref import ImageRef
from kdmm.data.image_text import ImageTextDataModule
from kdmm.data.labelled import Labelled
from kdmm.data.long_tailed import LongTailed
from kdmm.data.marked import Marked
from kdmm.data.mask_folder import MaskFolder
from kdmm.data.mislabelled import Mislabelled
from kdmm.data.movie_reviews import MovieReviews
from kdmm.data.multimodal import MultimodalDataModule
from kdmm.data.noto_emoji import NotoEmoji
from kdmm.data.only import Only
from kdmm.data.pair_table import PairTable
from kdmm.data.parallel_table import ParallelTable
from kdmm.data.pascal_voc import PascalVOC
from kdmm.data.sample import Sample
from kdmm.data.sentiment import Sentiment
from kdmm.data.sound_font import SoundFont
from kdmm.data.source import ClassNames, Source
from kdmm.data.spam import Spam
from kdmm.data.still_clips import StillClips
from kdmm.data.taught import Taught
from kdmm.data.text_table import TextTable
from kdmm.data.texts import Texts, TextSource
from kdmm.data.trained_tokens import TrainedTokens
from kdmm.data.tux_paint import TuxPaint
from kdmm.data.urban_sound import UrbanSound8K
from kdmm.data.video_ref import VideoRef
from kdmm.data.video_text import VideoTextDataModule
from kdmm.data.vocabulary import Vocabulary
from kdmm.data.web_dataset import WebDataset
from kdmm.data.without import Without

__all__ = [
    "AudioCaps",
    "AudioRef",
    "AudioTextDataModule",
    "Balanced",
    "Captioned",
    "ClassCounts",
    "ClassNames",
    "Clotho",
    "CocoCaptions",
    "CocoDetection",
    "Composite",
    "DeepForest",
    "Digits",
    "DomainShift",
    "Emoji",
    "EmojiNames",
    "Esc50",
    "Fillets",
    "FluentEmoji",
    "Having",
    "Illustrated",
    "ImageFolder",
    "ImageRef",
    "ImageTextDataModule",
    "Labelled",
    "LongTailed",
    "Marked",
    "MaskFolder",
    "Mislabelled",
    "MovieReviews",
    "MultimodalDataModule",
    "NotoEmoji",
    "Only",
    "PairTable",
    "ParallelTable",
    "PascalVOC",
    "Sample",
    "Sentiment",
    "SoundFont",
    "Source",
    "Spam",
    "StillClips",
    "Taught",
    "TextSource",
    "TextTable",
    "Texts",
    "TrainedTokens",
    "TuxPaint",
    "UrbanSound8K",
    "VideoRef",
    "VideoTextDataModule",
    "Vocabulary",
    "WebDataset",
    "Without",
    "embedded",
]
