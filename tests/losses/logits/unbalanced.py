"""Two classes that overlap, of which one is rare, and a linear model fitted to them by a term."""

import torch
from torch import nn

COUNTS = [600, 30]
CENTRES = torch.tensor([[0.0, 0.0], [1.5, 0.5]], dtype=torch.float64)


def points(counts, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(2).repeat_interleave(torch.tensor(counts))
    return CENTRES[labels] + torch.randn(len(labels), 2, generator=generator, dtype=torch.float64), labels


def fitted(term, counts=COUNTS):
    """The model with the least value of the term on all of them."""
    x, labels = points(counts, 0)
    model = nn.Linear(2, 2, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=200, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss():
        optimizer.zero_grad()
        value = term({"logits": model(x)}, {}, {"label": labels})
        value.backward()
        return value

    optimizer.step(loss)
    return model


def recalls(term):
    """The accuracy of each class on new points, as many of one class as of the other."""
    x, labels = points([4000, 4000], 1)
    right = fitted(term)(x).argmax(1) == labels
    return [right[labels == each].double().mean().item() for each in (0, 1)]
