"""Token embeddings that a small tower takes over from a larger model."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.errors import InputError
from kdmm.models.files import locate

__all__ = ["EMBEDDING_STD", "principal_embeddings"]

EMBEDDING_STD = 0.02  # BERT's: at PyTorch's default of 1 the table hardly moves in a short run


def principal_embeddings(name: str, rows: int, width: int, setting: str) -> Float[Tensor, "rows width"]:
    """Return a model's word embeddings in their first ``width`` principal components, scaled to ``EMBEDDING_STD``.

    Args:
        name: of a transformers model: hub name, folder, or ``package:<module>/<folder>``.
        rows: tokens of the vocabulary.
        width: of one token's embedding.
        setting: what the model is set by, for messages.

    Raises:
        InputError: the model has fewer tokens, or narrower embeddings.
    """
    from transformers import AutoModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    model = AutoModel.from_pretrained(str(locate(name)), dtype=torch.float32, trust_remote_code=False)
    table = model.get_input_embeddings().weight.detach()
    if len(table) < rows:
        raise InputError(
            f"{setting}: {name!r} has {len(table)} tokens, the tokenizer {rows}. Take the same model's tokenizer."
        )
    if table.shape[1] < width:
        raise InputError(
            f"{setting}: {name!r} has embeddings of width {table.shape[1]}, and {width} is asked for. Set "
            f"`embedding_width` to {table.shape[1]} or less."
        )
    centred = (table[:rows] - table[:rows].mean(0)).double()
    _, directions = torch.linalg.eigh(centred.T @ centred)  # ascending: the last columns carry the most variance
    reduced = centred @ directions[:, -width:].flip(1)
    # A principal direction's sign is arbitrary and differs between machines: make each one's largest entry positive.
    largest = directions[:, -width:].flip(1).abs().argmax(0)
    reduced = reduced * directions[:, -width:].flip(1).gather(0, largest[None]).sign()
    scaled: Tensor = (reduced * EMBEDDING_STD / reduced.std()).float()
    return scaled
