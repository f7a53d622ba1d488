"""Pictures with captions that a tiny student learns in seconds: a task whose numbers mean something."""

import itertools
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 230), "black": (0, 0, 0)}
CORNERS = {"top left": (1, 1), "top right": (17, 1), "bottom left": (1, 17), "bottom right": (17, 17)}
SIDE = 13


def shapes(folder):
    """Draw a coloured square or disc in a corner: 32 captions with three training pictures each and one for validation.

    Returns the node of the source.
    """
    place = Path(folder)
    place.mkdir()
    rows = ["image,caption,split"]
    for colour, shape, corner in itertools.product(COLOURS, ("square", "disc"), CORNERS):
        for number in range(4):
            image = Image.new("RGB", (32, 32), (255 - 5 * number, 250, 235 + 5 * number))
            x, y = (at + number % 3 - 1 for at in CORNERS[corner])
            draw = ImageDraw.Draw(image)
            outline = draw.rectangle if shape == "square" else draw.ellipse
            outline((x, y, x + SIDE, y + SIDE), fill=COLOURS[colour])
            name = f"{len(rows)}.png"
            image.save(place / name)
            rows.append(f"{name},a {colour} {shape} at the {corner},{'val' if number == 3 else 'train'}")
    (place / "shapes.csv").write_text("\n".join(rows))
    return {"_target_": "kdmm.data.PairTable", "path": f"{folder}/shapes.csv", "split": "split"}
