"""Sources of pictures, sounds and captions, and the DataModule that makes batches of them."""

from kdmm.data.audio_caps import AudioCaps
from kdmm.data.audio_ref import AudioRef
from kdmm.data.audio_text import AudioTextDataModule
from kdmm.data.balanced import Balanced, ClassCounts
from kdmm.data.captioned import Captioned
from kdmm.data.clotho import Clotho
from kdmm.data.coco_captions import CocoCaptions
from kdmm.data.digits import Digits
from kdmm.data.embedded import embedded
from kdmm.data.emoji import Emoji
from kdmm.data.esc50 import Esc50
from kdmm.data.having import Having
from kdmm.data.illustrated import Illustrated
from kdmm.data.image_ref import ImageRef
from kdmm.data.image_text import ImageTextDataModule
from kdmm.data.labelled import Labelled
from kdmm.data.long_tailed import LongTailed
from kdmm.data.movie_reviews import MovieReviews
from kdmm.data.multimodal import MultimodalDataModule
from kdmm.data.only import Only
from kdmm.data.pair_table import PairTable
from kdmm.data.sample import Sample
from kdmm.data.sound_font import SoundFont
from kdmm.data.source import ClassNames, Source
from kdmm.data.texts import Texts, TextSource
from kdmm.data.tux_paint import TuxPaint
from kdmm.data.urban_sound import UrbanSound8K
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
    "Digits",
    "Emoji",
    "Esc50",
    "Having",
    "Illustrated",
    "ImageRef",
    "ImageTextDataModule",
    "Labelled",
    "LongTailed",
    "MovieReviews",
    "MultimodalDataModule",
    "Only",
    "PairTable",
    "Sample",
    "SoundFont",
    "Source",
    "TextSource",
    "Texts",
    "TuxPaint",
    "UrbanSound8K",
    "Vocabulary",
    "WebDataset",
    "Without",
    "embedded",
]
