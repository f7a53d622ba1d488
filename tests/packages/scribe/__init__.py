"""A package of somebody else's with a network of their own that writes, which knows nothing of transformers'."""

from collections.abc import Mapping

from torch import Tensor, nn

from kdmm.models import EncoderDecoder, Memory


class Recurrent(EncoderDecoder):
    """Reads the mean of embeddings, and writes with a recurrent decoder.

    Args:
        source_size: tokens that are read.
        text_size: tokens that are written.
        width: of everything.
    """

    def __init__(self, source_size: int, text_size: int, width: int = 12) -> None:
        super().__init__()
        self.read = nn.Embedding(source_size, width)
        self.written = nn.Embedding(text_size, width)
        self.cell = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, text_size)

    def encode(self, source: Tensor, valid: Tensor) -> Memory:
        return Memory(self.read(source), valid, {"read": self.read(source)})

    def forward(self, memory: Memory, previous: Tensor) -> Mapping[str, Tensor]:
        weight = memory.valid.float()[..., None]
        mean = (memory.places * weight).sum(1) / weight.sum(1)
        states, _ = self.cell(self.written(previous), mean[None].contiguous())
        return {"logits": self.head(states), "states": states}
