"""Towers: one modality in, one feature vector a sample out. A shared space projects several of them into one."""

from kdmm.models.towers.audio import AudioTower
from kdmm.models.towers.image import ImageTower, TimmImage
from kdmm.models.towers.lstm import LstmText
from kdmm.models.towers.text import BagOfTokens, TextTower, TransformerText
from kdmm.models.towers.video import VideoTower

Tower = AudioTower | ImageTower | TextTower | VideoTower
"""Any of them; ``modality`` says which."""

__all__ = [
    "AudioTower",
    "BagOfTokens",
    "ImageTower",
    "LstmText",
    "TextTower",
    "TimmImage",
    "Tower",
    "TransformerText",
    "VideoTower",
]
