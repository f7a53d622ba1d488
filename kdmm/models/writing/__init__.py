"""Models that write text about what they read: encoders, decoders, and how texts are found."""

from kdmm.models.writing.decoder import EncoderDecoder, Memory, TextDecoder
from kdmm.models.writing.endless import Endless
from kdmm.models.writing.folder_tokens import FolderTokens
from kdmm.models.writing.places import FramePlaces, MapPlaces, Places, PooledPlaces, places_of
from kdmm.models.writing.search import beam_search, greedy_search
from kdmm.models.writing.transformer_decoder import TransformerDecoder
from kdmm.models.writing.transformers_network import TransformersNetwork
from kdmm.models.writing.writer import Writer

__all__ = [
    "EncoderDecoder",
    "Endless",
    "FolderTokens",
    "FramePlaces",
    "MapPlaces",
    "Memory",
    "Places",
    "PooledPlaces",
    "TextDecoder",
    "TransformerDecoder",
    "TransformersNetwork",
    "Writer",
    "beam_search",
    "greedy_search",
    "places_of",
]
