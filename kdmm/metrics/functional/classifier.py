"""A classifier made of class names and prompt templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["text_classifier"]

PROMPTS_PER_CALL = 256  # bounds the activations of the text tower; a thousand classes make thousands of prompts


@torch.no_grad()
def text_classifier(
    encode_text: Callable[[list[str]], Tensor],
    class_names: Sequence[str],
    templates: Sequence[str],
) -> Float[Tensor, "C D"]:
    """Return one L2-normalized weight vector a class: the mean of its prompts' embeddings (CLIP's prompt ensemble).

    Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 3.1.4: each prompt's embedding is normalized, a
    class's are averaged over templates, and the mean is normalized again.

    Args:
        encode_text: N prompts to embeddings (N, D).
        class_names: of the C classes.
        templates: each with one ``{}``, where the class name goes.
    """
    per_call = max(1, PROMPTS_PER_CALL // len(templates))
    weights = []
    for start in range(0, len(class_names), per_call):
        names = class_names[start : start + per_call]
        prompts = [template.format(name) for name in names for template in templates]
        embeddings = F.normalize(encode_text(prompts).float(), dim=-1)
        weights.append(F.normalize(embeddings.reshape(len(names), len(templates), -1).mean(1), dim=-1))
    return torch.cat(weights)
