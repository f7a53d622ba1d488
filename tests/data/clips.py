"""Small moving pictures, in files of several formats."""

import numpy as np
from PIL import Image


def pictures(count, width=32, height=24, mode="RGB"):
    """Return distinct pictures: picture n is of one colour, and a bar moves over it."""
    made = []
    for n in range(count):
        pixels = np.full(
            (height, width, 3), (10 + 200 * n // max(1, count - 1), 60, 250 - 20 * (n % 12)), dtype=np.uint8
        )
        pixels[:, n % width] = 255
        made.append(Image.fromarray(pixels).convert(mode))
    return made


def animation(path, frames, durations=40, **settings):
    """Write an animation in the format of its name; durations in ms, one for all or one a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, **lossless, **settings)
    return path


def film(path, frames, rate=25, codec="mpeg4", key_every=12):
    """Write a film by PyAV, almost without loss."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        stream.gop_size = key_every
        stream.bit_rate = 20_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    return path
