"""Small pictures in files, with annotations in the forms of COCO and Pascal VOC."""

import json

from PIL import Image


def picture(path, width=40, height=30, colour=(10, 20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), colour).save(path)
    return path


def coco(folder, annotations, images=((7, "a.png"), (3, "b.png")), categories=((5, "dog"), (2, "cat")), **settings):
    """Write `objects.json` in a folder with its pictures; annotations as (image, category, bbox, further keys)."""
    for _, name in images:
        picture(folder / name)
    content = {
        "images": [{"id": number, "file_name": name, "width": 40, "height": 30} for number, name in images],
        "categories": [{"id": number, "name": name} for number, name in categories],
        "annotations": [
            {"id": 100 + place, "image_id": image, "category_id": category, "bbox": bbox, "iscrowd": 0, **rest}
            for place, (image, category, bbox, rest) in enumerate(annotations)
        ],
        **settings,
    }
    path = folder / "objects.json"
    path.write_text(json.dumps(content))
    return path


def voc(folder, name, objects, size=(40, 30), picture_size=(40, 30), filename=None, suffix="png"):
    """Write an XML file and its picture; objects as (class, box, further XML)."""
    if picture_size:
        picture(folder / f"{name}.{suffix}", *picture_size)
    inside = "".join(
        f"<object><name>{kind}</name>{rest}<bndbox>"
        + "".join(f"<{side}>{x}</{side}>" for side, x in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        + "</bndbox></object>"
        for kind, box, rest in objects
    )
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    named = f"<filename>{filename}</filename>" if filename else ""
    path = folder / f"{name}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation>{named}{stated}{inside}</annotation>")
    return path
