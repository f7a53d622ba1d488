"""Clotho: sounds of 15 to 30 s with five captions each."""

from __future__ import annotations

from pathlib import Path

from kdmm.data.audio_ref import AudioRef
from kdmm.data.distinct import distinct
from kdmm.data.files import existing_folder
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Source, Split
from kdmm.data.tables import read_table
from kdmm.errors import InputError, nearest

__all__ = ["Clotho"]

OWN_NAMES: dict[Split, str] = {"train": "development", "val": "validation", "test": "evaluation"}
FILE = "file_name"
CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))


class Clotho(Source):
    """Clotho (Drossos et al. 2020, https://arxiv.org/abs/1910.09387), its own splits.

    The folder that its files on https://zenodo.org/records/4783391 are unpacked in: ``clotho_captions_<name>.csv`` and
    the folder ``<name>/`` with the sounds, where the name is ``development`` for train, ``validation`` for val and
    ``evaluation`` for test. Version 1 has no validation; a split whose table is missing is one that the source lacks.

    Args:
        root: that folder.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def __str__(self) -> str:
        return f"Clotho({str(self.root)!r})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those whose table is there."""
        existing_folder(self.root, "Clotho.root")
        found = tuple(split for split in SPLITS if self._captions(split).is_file())
        if not found:
            names = ", ".join(self._captions(split).name for split in SPLITS)
            raise InputError(f"Clotho.root: {str(self.root)!r} holds none of {names}.")
        return found

    def read(self, split: Split) -> list[Sample]:
        """Return the sounds of a split."""
        table = read_table(self._captions(split), (FILE, *CAPTIONS), None, "Clotho.root")
        folder = existing_folder(self.root / OWN_NAMES[split], "Clotho.root")
        there = {path.name for path in folder.iterdir()}
        samples = []
        for row, file in enumerate(table.columns[FILE]):
            if file not in there:
                raise InputError(f"{table.origin(row)}: there is no file {str(folder / file)!r}.{nearest(file, there)}")
            samples.append(
                Sample(
                    id=file,
                    audio=AudioRef(str(folder / file)),
                    captions=distinct(table.columns[name][row] for name in CAPTIONS),
                    origin=table.origin(row),
                )
            )
        return samples

    def _captions(self, split: Split) -> Path:
        return self.root / f"clotho_captions_{OWN_NAMES[split]}.csv"
