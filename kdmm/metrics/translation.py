"""How near translations come to those of people: BLEU and chrF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from kdmm.metrics.functional.sentences import sacrebleu_metrics
from kdmm.metrics.written import WrittenMetric

__all__ = ["Translation"]

Tokenize = Literal["13a", "intl", "zh", "char", "none"]


class Translation(WrittenMetric):
    """Corpus BLEU (Papineni et al. 2002) and chrF2 (Popović 2015) by sacreBLEU (Post 2018, arXiv:1804.08771).

    Gives ``bleu`` and ``chrf`` in [0, 1], sacreBLEU's divided by 100; with beams, ``beam<K>/bleu`` and so on; for the
    teacher, ``teacher/bleu`` and so on. Needs ``pip install sacrebleu``.

    Args:
        role: whose translations are measured.
        beams: 1 writes the best token each time; more search for a likelier text.
        max_tokens: the most that are written; ``None``: what the model was trained to read.
        tokenize: how BLEU cuts texts into words: sacreBLEU's ``13a`` for languages with spaces, ``zh`` for Chinese,
            ``char`` for others without spaces.
    """

    higher_is_better = True

    def __init__(
        self,
        role: Literal["student", "teacher"] = "student",
        beams: int = 1,
        max_tokens: int | None = None,
        tokenize: Tokenize = "13a",
    ) -> None:
        super().__init__(role, beams, max_tokens)
        self.tokenize = tokenize
        sacrebleu_metrics("Translation")

    def scores(self, written: Sequence[str], references: Sequence[Sequence[str]]) -> Mapping[str, float]:
        """Return the two scores of all texts together."""
        most = max(map(len, references))
        streams = [[own[place] if place < len(own) else None for own in references] for place in range(most)]
        metrics = sacrebleu_metrics("Translation")
        return {
            "bleu": metrics.BLEU(tokenize=self.tokenize).corpus_score(list(written), streams).score / 100,
            "chrf": metrics.CHRF().corpus_score(list(written), streams).score / 100,
        }
