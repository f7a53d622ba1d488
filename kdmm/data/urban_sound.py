"""UrbanSound8K: 8,732 sounds of the street, of 10 classes."""

from __future__ import annotations

from kdmm.data.sound_folds import FoldLayout, SoundFolds

__all__ = ["UrbanSound8K"]

LAYOUT = FoldLayout(
    table="metadata/UrbanSound8K.csv",
    audio="audio/fold{fold}/{file}",
    file="slice_file_name",
    fold="fold",
    number="classID",
    name="class",
    recording="fsID",
    folds=10,
)


class UrbanSound8K(SoundFolds):
    """UrbanSound8K (Salamon et al. 2014, https://doi.org/10.1145/2647868.2655045), up to 4 s each.

    The folder as https://urbansounddataset.weebly.com/urbansound8k.html gives it: ``metadata/UrbanSound8K.csv`` and
    ``audio/fold1/`` to ``audio/fold10/``. Results are means over the 10 folds as the test fold; the folds are not to be
    mixed, since clips of one recording are in one fold. They are one concept. Labels: ``category``, named by
    ``class_names``.

    Args:
        root: that folder.
        fold: which one is for testing, 1 to 10.
        val_fold: which other one is for validation; ``None``: none, the nine are for training.
        caption: a template with one ``{}`` for the class's name, such as ``the sound of {}``; ``None``: no captions.
    """

    @property
    def layout(self) -> FoldLayout:
        """Where UrbanSound8K keeps what."""
        return LAYOUT
