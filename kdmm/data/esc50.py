"""ESC-50: 2,000 environmental sounds of 50 classes."""

from __future__ import annotations

from kdmm.data.sound_folds import FoldLayout, SoundFolds

__all__ = ["Esc50"]

LAYOUT = FoldLayout(
    table="meta/esc50.csv",
    audio="audio/{file}",
    file="filename",
    fold="fold",
    number="target",
    name="category",
    recording="src_file",
    folds=5,
)


class Esc50(SoundFolds):
    """ESC-50 (Piczak 2015, https://doi.org/10.1145/2733373.2806390), 5 s each, 40 a class.

    The folder as https://github.com/karolpiczak/ESC-50 gives it: ``meta/esc50.csv`` and ``audio/``. Results are means
    over the 5 folds as the test fold. Clips of one recording are one concept, and in one fold. Labels: ``category``,
    named by ``class_names``.

    Args:
        root: that folder.
        fold: which one is for testing, 1 to 5.
        val_fold: which other one is for validation; ``None``: none, the four are for training.
        caption: a template with one ``{}`` for the class's name, such as ``the sound of {}``; ``None``: no captions.
    """

    @property
    def layout(self) -> FoldLayout:
        """Where ESC-50 keeps what."""
        return LAYOUT
