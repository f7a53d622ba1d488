"""A text tower of a few numbers."""

import torch
from torch import nn

from kdmm.models import TextTower


class Letters:
    """One token a text: its length."""

    def __call__(self, texts):
        return torch.tensor([[len(text)] for text in texts])


class TinyText(TextTower):
    """The embedding of a text's first token."""

    def __init__(self):
        super().__init__()
        self.width = 6
        self.table = nn.Embedding(64, 6)
        self.preprocess = Letters()

    def forward(self, text):
        return self.table(text[:, 0])
