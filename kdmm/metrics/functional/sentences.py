"""How near one text comes to its references, by sacreBLEU, and which of several comes nearest."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Literal

from kdmm.errors import InputError

__all__ = ["Measure", "nearest_text", "sacrebleu_metrics"]

Measure = Literal["bleu", "chrf"]


def nearest_text(texts: Sequence[str], references: Sequence[str], measure: Measure) -> str:
    """Return the text that comes nearest to its references; of equally near ones the first, of unlike ones too.

    Args:
        texts: at least one.
        references: at least one.
        measure: ``bleu``: of the single text, sacreBLEU's, smoothed as it does by default (``exp``, Chen and Cherry
            2014), of runs of up to as many words as the text has; words are cut as for languages with spaces.
            ``chrf``: chrF2 of the single text, which needs no words (Popović 2015).

    Raises:
        InputError: sacrebleu is not installed.
    """
    metrics = sacrebleu_metrics("nearest")
    scorer = metrics.BLEU(effective_order=True) if measure == "bleu" else metrics.CHRF()
    scores = [scorer.sentence_score(text, list(references)).score for text in texts]
    return texts[scores.index(max(scores))]


def sacrebleu_metrics(user: str) -> Any:
    """Return sacreBLEU's metrics.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module("sacrebleu.metrics")
    except ImportError:
        raise InputError(f"{user} needs the package sacrebleu. Install it: pip install sacrebleu") from None
