"""How near captions come to those of people: CIDEr-D, BLEU and ROUGE-L."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from torchmetrics.functional.text import bleu_score

from kdmm.metrics.functional.captions import cider_d, rouge_l, words
from kdmm.metrics.written import WrittenMetric

__all__ = ["Captioning"]


class Captioning(WrittenMetric):
    """COCO's measures of captions (Chen et al. 2015, arXiv:1504.00325), on words in lower case without punctuation.

    Gives ``cider_d`` in [0, 10], the mean over samples; ``bleu4`` and ``bleu1`` in [0, 1], of all words together,
    without smoothing (Papineni et al. 2002); ``rouge_l`` in [0, 1], the mean over samples; see
    :func:`kdmm.metrics.functional.captions.cider_d` and ``rouge_l``. With beams, ``beam<K>/cider_d`` and so on; for the
    teacher, ``teacher/cider_d`` and so on.

    Captions shorter than four words have no runs of four: then a right one has less than CIDEr-D's 10 (7.5 of three
    words), and ``bleu4`` counts the longer ones alone.

    Args:
        role: whose captions are measured.
        beams: 1 writes the best token each time; more search for a likelier caption.
        max_tokens: the most that are written; ``None``: what the model was trained to read.
    """

    higher_is_better = True

    def scores(self, written: Sequence[str], references: Sequence[Sequence[str]]) -> Mapping[str, float]:
        """Return the values of all captions together."""
        ours, theirs = _cut(written), [sorted(_cut(own), key=_spaces) for own in references]
        return {
            "cider_d": fmean(cider_d(written, references)),
            **{f"bleu{n}": float(bleu_score(ours, theirs, n_gram=n)) for n in (4, 1)},
            "rouge_l": fmean(rouge_l(written, references)),
        }


def _cut(texts: Sequence[str]) -> list[str]:
    """Return texts as their words with one space between."""
    return [" ".join(words(text)) for text in texts]


def _spaces(text: str) -> int:
    """Return what puts the shorter of two references first: of two that are equally near, BLEU counts its length."""
    return text.count(" ")
