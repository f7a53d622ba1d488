"""Which emoji show the same thing: variants of one concept stay on one side of a split.

Names come from Unicode's CLDR. Four steps make a concept of a name: skin tones go; words that tell variants apart
(gender, direction, size, colour) go; "X with Y" and "X face" join X where X is an emoji itself; and `ALIKE` joins what
is drawn alike under other names, found by comparing all pictures pixel by pixel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["KINDS", "concepts", "kind"]

KINDS = ("flags", "keycaps", "clock faces", "families")
"""Emoji whose captions cannot be told from the picture, or that differ in one detail only: 270 flags, 13 keycaps, 24
clock faces, and 30 families that Twemoji draws as four silhouettes."""

FLAGS = frozenset({"1f3f3", "1f3f4", "1f3c1", "1f6a9", "1f38c"})  # white, black, chequered, triangular, crossed
SKIN_TONE = re.compile(r" (?:medium-light|medium-dark|light|medium|dark) skin tone")
VARIANT_WORDS = (
    "man woman person men women people boy girl child adult",
    "up down left right up-left up-right down-left down-right up-down left-right",
    "upwards downwards leftwards rightwards left-facing right-facing front-facing oncoming facing tilted pointed",
    "curving clockwise counterclockwise horizontally vertically horizontal vertical increasing decreasing",
    "raised lowered small large medium medium-small open closed",
    "black white red green blue orange yellow purple brown pink grey light",
)
VARIANTS = frozenset(word for line in VARIANT_WORDS for word in line.split())
DETAILS = frozenset({"with", "without", "in", "on", "at", "behind", "over"})

ALIKE = (
    ("person", "bald", "beard", "blond hair", "curly hair", "hair"),
    ("old", "older"),
    ("frowning", "pouting", "slightly frowning face"),
    ("Santa Claus", "Mrs. Claus", "Mx Claus"),
    ("prince", "princess", "with crown"),
    ("mermaid", "merman", "merperson"),
    ("breast-feeding", "feeding baby"),
    ("holding hands", "and holding hands"),
    ("taking bath", "bathtub"),
    ("slightly smiling face", "upside-down face"),
    ("face with hand over mouth", "face with eyes and hand over mouth"),
    ("face holding back tears", "pleading face"),
    ("face with tongue", "squinting face with tongue"),
    ("face with mouth", "hushed face"),
    ("grinning face", "grinning squinting face"),
    ("hear-no-evil monkey", "see-no-evil monkey", "speak-no-evil monkey"),
    ("dog", "guide dog", "service dog"),
    ("bear", "polar bear"),
    ("bird", "phoenix"),
    ("camel", "two-hump camel"),
    ("lemon", "lime"),
    ("empty nest", "nest with eggs"),
    ("shamrock", "four leaf clover"),
    ("beer mug", "clinking beer mugs"),
    ("crescent moon", "first quarter moon", "full moon", "last quarter moon", "new moon", "waning crescent moon"),
    ("crescent moon", "waning gibbous moon", "waxing crescent moon", "waxing gibbous moon"),
    ("globe showing Americas", "globe showing Asia-Australia", "globe showing Europe-Africa"),
    ("star", "glowing star"),
    ("heart", "beating heart", "broken heart", "growing heart", "heart decoration", "heart exclamation", "heart suit"),
    ("heart", "mending heart", "revolving hearts", "sparkling heart", "two hearts"),
    ("skull", "skull and crossbones"),
    ("1st place medal", "2nd place medal", "3rd place medal", "sports medal", "military medal"),
    ("dollar banknote", "euro banknote", "pound banknote", "yen banknote"),
    ("envelope", "e-mail", "incoming envelope"),
    ("page", "receipt"),
    ("calendar", "spiral calendar", "tear-off calendar"),
    ("newspaper", "rolled-up newspaper"),
    ("paperclip", "linked paperclips"),
    ("pushpin", "round pushpin"),
    ("ticket", "admission tickets"),
    ("locked", "unlocked"),
    ("battery", "low battery"),
    ("speaker high volume", "speaker low volume", "speaker volume", "muted speaker"),
    ("mobile phone", "mobile phone off", "no mobile phones", "vibration mode"),
    ("hourglass done", "hourglass not done"),
    ("tram", "tram car"),
    ("chains", "broken chain"),
    ("speech balloon", "speech bubble", "thought balloon"),
    ("check mark", "check mark button", "check box with check"),
    ("cross mark", "cross mark button"),
    ("bright button", "dim button"),
    ("repeat button", "repeat single button"),
    ("fast button", "fast-forward button", "fast reverse button", "button", "play button", "reverse button"),
    ("fast button", "next track button", "last track button"),
    ("A button (blood type)", "AB button (blood type)", "B button (blood type)", "O button (blood type)"),
    ("input latin letters", "input latin lowercase", "input latin uppercase", "input numbers", "input symbols"),
)

SAME_FLAGS = (
    ("Norway", "Svalbard & Jan Mayen", "Bouvet Island"),
    ("France", "St. Martin", "Clipperton Island"),
    ("Australia", "Heard Island & McDonald Islands"),
    ("Spain", "Ceuta & Melilla"),
    ("United States", "U.S. Outlying Islands"),
    ("British Indian Ocean Territory", "Diego Garcia"),
    ("Indonesia", "Monaco"),
    ("Chad", "Romania"),
    ("Jordan", "Palestinian Territories"),
)


def kind(code: str, name: str) -> str:
    """Return which of `KINDS` an emoji is, or an empty string.

    Args:
        code: its code points in hexadecimal, joined by ``-``.
        name: its English name in plain words.
    """
    first = int(code.split("-")[0], 16)
    if 0x1F1E6 <= first <= 0x1F1FF or code.split("-")[0] in FLAGS:
        return "flags"
    if code.endswith("20e3") or code == "1f51f":
        return "keycaps"
    if 0x1F550 <= first <= 0x1F567:
        return "clock faces"
    return "families" if name.startswith("family") else ""


def concepts(emoji: Mapping[str, str]) -> dict[str, str]:
    """Return each emoji's concept.

    Args:
        emoji: from code points, in hexadecimal, to English name; always of all emoji, so that a concept does not depend
            on which of them are used.
    """
    kinds = {code: kind(code, name) for code, name in emoji.items()}
    plain = {code: _without_variant_words(name) for code, name in emoji.items() if not kinds[code]}
    known = set(plain.values())
    leaders = {other: names[0] for names in ALIKE for other in names}
    same_flags = {other: names[0] for names in SAME_FLAGS for other in names}
    found = {}
    for code, name in emoji.items():
        if kinds[code] == "flags":
            found[code] = f"flag of {same_flags.get(name, name)}"
        elif kinds[code]:
            found[code] = kinds[code]
        else:
            whole = _without_details(leaders.get(plain[code], plain[code]), known)
            found[code] = leaders.get(whole, whole)
    return found


def _without_variant_words(name: str) -> str:
    words = SKIN_TONE.sub("", name).split()
    return " ".join(word for word in words if word.lower() not in VARIANTS) or "person"


def _without_details(name: str, known: set[str]) -> str:
    """Return the X of "X with Y", "X face" and "Xs" where X is an emoji's name too."""
    words = name.split()
    for i in range(1, len(words)):
        head = " ".join(words[:i])
        if head in known and (words[i] in DETAILS or words[i:] == ["face"]):
            return head
    return name[:-1] if name.endswith("s") and name[:-1] in known else name
