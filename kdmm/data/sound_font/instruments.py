"""General MIDI's instruments: what they are called, their families, and the keys that they are mostly played in.

The order is that of General MIDI's programs 1 to 128 (eight a family) and of its percussion keys 35 to 81
(MIDI Manufacturers Association, General MIDI System Level 1, 1991). The keys are those of the instruments themselves,
four octaves at most; of what has no range of its own, the two octaves around middle C, key 60.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DRUM_KIT", "FAMILIES", "INSTRUMENTS", "PERCUSSION", "Instrument"]

MELODIC = {
    "piano": """an acoustic grand piano 36 84; a bright acoustic piano 36 84; an electric grand piano 36 84;
        a honky-tonk piano 36 84; the first electric piano 40 76; the second electric piano 40 76;
        a harpsichord 41 77; a clavinet 41 77""",
    "chromatic percussion": """a celesta 60 96; a glockenspiel 72 99; a music box 60 90; a vibraphone 53 84;
        a marimba 48 84; a xylophone 60 96; tubular bells 55 79; a dulcimer 48 84""",
    "organ": """a drawbar organ 41 77; a percussive organ 41 77; a rock organ 41 77; a church organ 36 84;
        a reed organ 41 77; an accordion 53 84; a harmonica 60 87; a tango accordion 53 84""",
    "guitar": """a nylon-string guitar 40 76; a steel-string guitar 40 76; a jazz guitar 40 76;
        a clean electric guitar 40 76; a muted electric guitar 40 76; an overdriven guitar 40 76;
        a distortion guitar 40 76; guitar harmonics 40 76""",
    "bass": """an acoustic bass 28 55; a fingered electric bass 28 55; a picked electric bass 28 55;
        a fretless bass 28 55; the first slap bass 28 55; the second slap bass 28 55; the first synth bass 28 55;
        the second synth bass 28 55""",
    "strings": """a violin 55 91; a viola 48 81; a cello 36 69; a contrabass 28 58; tremolo strings 43 79;
        pizzicato strings 43 79; an orchestral harp 41 84; timpani 36 60""",
    "ensemble": """the first string ensemble 43 79; the second string ensemble 43 79; the first synth strings 43 79;
        the second synth strings 43 79; choir aahs 48 79; voice oohs 48 79; a synth voice 48 79;
        an orchestra hit 48 72""",
    "brass": """a trumpet 54 82; a trombone 40 70; a tuba 28 58; a muted trumpet 54 82; a french horn 41 77;
        a brass section 41 77; the first synth brass 41 77; the second synth brass 41 77""",
    "reed": """a soprano saxophone 56 87; an alto saxophone 49 80; a tenor saxophone 44 75; a baritone saxophone 36 68;
        an oboe 58 88; an english horn 52 81; a bassoon 34 67; a clarinet 50 86""",
    "pipe": """a piccolo 74 102; a flute 60 93; a recorder 60 87; a pan flute 60 91; a blown bottle 60 84;
        a shakuhachi 55 84; a whistle 60 96; an ocarina 60 84""",
    "synth lead": """a square lead synth 48 84; a sawtooth lead synth 48 84; a calliope lead synth 48 84;
        a chiff lead synth 48 84; a charang lead synth 48 84; a voice lead synth 48 84; a fifths lead synth 48 84;
        a bass and lead synth 36 72""",
    "synth pad": """a new age pad synth 48 84; a warm pad synth 48 84; a polysynth pad 48 84; a choir pad synth 48 84;
        a bowed pad synth 48 84; a metallic pad synth 48 84; a halo pad synth 48 84; a sweep pad synth 48 84""",
    "synth effects": """a rain synth effect 48 84; a soundtrack synth effect 48 84; a crystal synth effect 48 84;
        an atmosphere synth effect 48 84; a brightness synth effect 48 84; a goblins synth effect 48 84;
        an echoes synth effect 48 84; a sci-fi synth effect 48 84""",
    "ethnic": """a sitar 48 76; a banjo 48 81; a shamisen 50 79; a koto 48 79; a kalimba 48 84; a bagpipe 57 81;
        a fiddle 55 91; a shanai 57 84""",
    "percussive": """a tinkle bell 60 84; an agogo 48 72; steel drums 52 79; a woodblock 48 72; a taiko drum 48 72;
        a melodic tom 48 72; a synth drum 48 72; a reverse cymbal 48 72""",
    "sound effects": """guitar fret noise 48 72; breath noise 48 72; the seashore 48 72; a bird tweet 48 72;
        a telephone ring 48 72; a helicopter 48 72; applause 48 72; a gunshot 48 72""",
}

DRUMS = """an acoustic bass drum; a bass drum; a side stick; an acoustic snare; a hand clap; an electric snare;
    a low floor tom; a closed hi-hat; a high floor tom; a pedal hi-hat; a low tom; an open hi-hat; a low-mid tom;
    a high-mid tom; the first crash cymbal; a high tom; the first ride cymbal; a chinese cymbal; a ride bell;
    a tambourine; a splash cymbal; a cowbell; the second crash cymbal; a vibraslap; the second ride cymbal;
    a high bongo; a low bongo; a muted high conga; an open high conga; a low conga; a high timbale; a low timbale;
    a high agogo; a low agogo; a cabasa; maracas; a short whistle; a long whistle; a short guiro; a long guiro; claves;
    a high wood block; a low wood block; a muted cuica; an open cuica; a muted triangle; an open triangle"""

ARTICLES = ("a ", "an ", "the ")
NOISES = ("percussive", "sound effects", "drums")
DRUM_KIT = (128, 0)  # bank and program of the standard kit
FIRST_DRUM = 35


@dataclass(frozen=True)
class Instrument:
    """What a program of General MIDI plays.

    Args:
        program: from 0.
        phrase: what it is called, with its article, if it has one.
        family: one of ``FAMILIES``.
        keys: MIDI numbers of those that it is played in.
        bank: where its preset is in a sound font: 0, or 128 for drums.
    """

    program: int
    phrase: str
    family: str
    keys: range
    bank: int = 0

    @property
    def name(self) -> str:
        """What it is called, without an article."""
        return next((self.phrase.removeprefix(each) for each in ARTICLES if self.phrase.startswith(each)), self.phrase)

    @property
    def plays_notes(self) -> bool:
        """Whether it plays notes, or makes a noise that is higher or lower."""
        return self.family not in NOISES

    @property
    def is_drum(self) -> bool:
        """Whether it has one key of a drum kit, and so no pitch."""
        return self.bank == DRUM_KIT[0]


def _rows(text: str) -> list[str]:
    return [" ".join(row.split()) for row in text.split(";")]


def _melodic() -> list[Instrument]:
    rows = [(family, row) for family, text in MELODIC.items() for row in _rows(text)]
    parts = [(family, *row.rsplit(" ", 2)) for family, row in rows]
    return [
        Instrument(program, phrase, family, range(int(low), int(high) + 1))
        for program, (family, phrase, low, high) in enumerate(parts)
    ]


FAMILIES: tuple[str, ...] = (*MELODIC, "drums")
"""The 16 of General MIDI, and drums."""

INSTRUMENTS: tuple[Instrument, ...] = tuple(_melodic())
"""The 128 melodic ones, in the order of their programs."""

PERCUSSION: tuple[Instrument, ...] = tuple(
    Instrument(DRUM_KIT[1], phrase, "drums", range(key, key + 1), DRUM_KIT[0])
    for key, phrase in enumerate(_rows(DRUMS), start=FIRST_DRUM)
)
"""The 47 sounds of a drum kit, in the order of their keys."""
