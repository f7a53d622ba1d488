"""Sources of images and captions, and the DataModule that makes batches of them."""

from kdmm.data.captioned import Captioned
from kdmm.data.coco_captions import CocoCaptions
from kdmm.data.digits import Digits
from kdmm.data.emoji import Emoji
from kdmm.data.image_text import ImageTextDataModule
from kdmm.data.labelled import Labelled
from kdmm.data.movie_reviews import MovieReviews
from kdmm.data.only import Only
from kdmm.data.pair_table import PairTable
from kdmm.data.sample import ImageRef, Sample
from kdmm.data.source import Source
from kdmm.data.texts import Texts, TextSource
from kdmm.data.vocabulary import Vocabulary
from kdmm.data.web_dataset import WebDataset
from kdmm.data.without import Without

__all__ = [
    "Captioned",
    "CocoCaptions",
    "Digits",
    "Emoji",
    "ImageRef",
    "ImageTextDataModule",
    "Labelled",
    "MovieReviews",
    "Only",
    "PairTable",
    "Sample",
    "Source",
    "TextSource",
    "Texts",
    "Vocabulary",
    "WebDataset",
    "Without",
]
