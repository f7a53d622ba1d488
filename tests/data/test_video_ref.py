import importlib
import sys

import numpy as np
import pytest
from PIL import Image

from kdmm.data import VideoRef
from kdmm.data.frame_choice import evenly, shrunk
from kdmm.data.frame_store import FrameStore
from kdmm.data.webp_durations import webp_durations
from kdmm.errors import InputError
from kdmm.models.video import spread
from tests.data.clips import animation, film, pictures


def same(one, other):
    return one.size == other.size and np.array_equal(np.asarray(one), np.asarray(other))


def by_seeking(path):
    """Every frame of an animation as Pillow itself seeks it."""
    with Image.open(path) as image:
        found = []
        for place in range(image.n_frames):
            image.seek(place)
            found.append(image.convert("RGB"))
        return found


@pytest.mark.parametrize("ending", [".gif", ".webp", ".png"])
def test_an_animations_frames_are_those_that_pillow_seeks(tmp_path, ending):
    path = animation(tmp_path / f"a{ending}", pictures(9))
    clip = VideoRef(str(path)).open()
    expected = by_seeking(path)
    assert len(clip.frames) == len(expected) == 9
    assert all(map(same, clip.frames, expected))
    assert clip.seconds == pytest.approx(9 * 0.04)


def test_few_of_many_frames_are_the_middles_of_equal_parts(tmp_path):
    path = animation(tmp_path / "a.webp", pictures(30))
    expected = by_seeking(path)
    clip = VideoRef(str(path), frames=4).open()
    assert all(map(same, clip.frames, [expected[n] for n in (3, 11, 18, 26)]))  # 3.75, 11.25, 18.75, 26.25


def test_a_frame_counts_as_long_as_it_is_shown(tmp_path):
    path = animation(tmp_path / "a.gif", pictures(3), [100, 100, 500])
    expected = by_seeking(path)
    clip = VideoRef(str(path)).open()
    assert clip.seconds == pytest.approx(0.7)
    assert all(map(same, clip.frames, [expected[n] for n in (0, 1, 2, 2, 2, 2, 2)]))
    assert len({id(frame) for frame in clip.frames}) == 3


@pytest.mark.parametrize(
    ("durations", "most", "places"),
    [
        ([40] * 5, 9, [0, 1, 2, 3, 4]),
        ([40] * 6, 3, [1, 3, 5]),
        ([0] * 4, 2, [1, 3]),
        ([30, 10], 9, [0, 0, 0, 1]),
        ([30, 10], 2, [0, 1]),  # at 10 and 30 of 40; at the very time at which a frame begins, it is shown
        ([10, 0, 10], 9, [0, 2]),
        ([7], 3, [0]),
    ],
)
def test_places_in_time(durations, most, places):
    assert list(evenly(durations, most)) == places


def test_places_in_time_by_brute_force():
    generator = np.random.default_rng(0)
    for _ in range(50):
        durations = generator.integers(1, 9, generator.integers(2, 12)).tolist()
        most = int(generator.integers(1, 20))
        if len(set(durations)) == 1:
            continue
        shown = [place for place, each in enumerate(durations) for _ in range(2 * 1000 * each)]
        count = min(most, max(1, round(sum(durations) / min(durations))))
        expected = [shown[(2 * n + 1) * len(shown) // (2 * count)] for n in range(count)]
        assert list(evenly(durations, most)) == expected


def test_the_durations_of_a_webp_are_read_without_decoding(tmp_path):
    path = animation(tmp_path / "a.webp", pictures(4), [10, 20, 30, 1000])
    with path.open("rb") as file:
        assert list(webp_durations(file)) == [10, 20, 30, 1000]


def test_frames_are_shrunk_and_never_enlarged(tmp_path):
    path = animation(tmp_path / "a.webp", pictures(2, 60, 40))
    assert VideoRef(str(path), size=20).open().frames[0].size == (30, 20)
    assert VideoRef(str(path), size=100).open().frames[0].size == (60, 40)


def test_transparent_parts_show_the_background(tmp_path):
    path = animation(tmp_path / "a.webp", [Image.new("RGBA", (4, 4), (255, 0, 0, alpha)) for alpha in (255, 0)])
    clip = VideoRef(str(path), background=(0, 9, 0)).open()
    assert [frame.getpixel((1, 1)) for frame in clip.frames] == [(255, 0, 0), (0, 9, 0)]


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".gif"])
def test_a_still_picture_is_a_clip_of_one_frame(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    pictures(1)[0].save(path)
    clip = VideoRef(str(path)).open()
    with Image.open(path) as image:
        assert same(clip.frames[0], image.convert("RGB"))
    assert (len(clip.frames), clip.seconds) == (1, None)


@pytest.mark.parametrize("ending", [".png", ".webp"])
def test_a_clip_is_turned_as_its_exif_data_say(tmp_path, ending):
    exif = Image.Exif()
    exif[0x0112] = 6
    made = pictures(3)
    for frames in (made[:1], made):
        path = animation(tmp_path / f"a{ending}", frames, exif=exif)
        expected = [frame.transpose(Image.Transpose.ROTATE_270) for frame in frames]
        found = VideoRef(str(path)).open().frames
        assert len(found) == len(frames)
        assert all(map(same, found, expected))


def test_a_still_picture_of_16_bits_is_scaled_and_one_of_32_is_refused(tmp_path):
    numbers = np.array([[0, 32768, 65535]])
    Image.fromarray(numbers.astype(np.uint16)).save(tmp_path / "a.tif")
    (frame,) = VideoRef(str(tmp_path / "a.tif")).open().frames
    assert np.asarray(frame).tolist() == [[[0] * 3, [128] * 3, [255] * 3]]
    Image.fromarray(numbers.astype(np.int32)).save(tmp_path / "b.tif")
    with pytest.raises(InputError, match=r"^its pixels are integers of 32 bits"):
        VideoRef(str(tmp_path / "b.tif")).open()


def test_a_folders_frames_are_in_the_order_of_their_numbers(tmp_path):
    made = pictures(12)
    for number, picture in enumerate(made):
        picture.save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    clip = VideoRef(str(tmp_path)).open()
    assert len(clip.frames) == 12
    assert all(map(same, clip.frames, made))
    assert all(map(same, VideoRef(str(tmp_path), frames=3).open().frames, [made[n] for n in (2, 6, 10)]))


def test_a_folder_names_the_frame_that_is_wrong(tmp_path):
    with pytest.raises(InputError, match="the folder holds no pictures"):
        VideoRef(str(tmp_path)).open()
    pictures(1)[0].save(tmp_path / "1.png")
    pictures(1, 8, 8)[0].save(tmp_path / "2.png")
    with pytest.raises(InputError, match=r"the frame 2\.png is 8 x 8 pixels large, and the first one 32 x 24"):
        VideoRef(str(tmp_path)).open()
    (tmp_path / "2.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"the frame 2\.png: the file is empty"):
        VideoRef(str(tmp_path)).open()


def test_bytes_are_read_as_the_file_is(tmp_path):
    path = animation(tmp_path / "a.webp", pictures(3))
    ref = VideoRef("in a table", path.read_bytes())
    assert all(map(same, ref.open().frames, VideoRef(str(path)).open().frames))
    assert ref.identity() != VideoRef("in a table", animation(tmp_path / "b.webp", pictures(4)).read_bytes()).identity()


def test_what_is_read_changes_the_identity(tmp_path):
    path = animation(tmp_path / "a.webp", pictures(3))
    names = {VideoRef(str(path), frames=frames, size=size).identity() for frames in (2, 3) for size in (8, 9)}
    assert len(names) == 4
    folder = tmp_path / "folder"
    folder.mkdir()
    pictures(1)[0].save(folder / "1.png")
    before = VideoRef(str(folder)).identity()
    pictures(1)[0].save(folder / "2.png")
    assert VideoRef(str(folder)).identity() != before


def cut(data, part):
    return data[: int(len(data) * part)]


@pytest.mark.parametrize("ending", [".webp", ".gif", ".png"])
@pytest.mark.parametrize(("part", "said"), [(0, "the file is empty"), (0.6, "broken|cut off|no moving picture")])
def test_a_cut_animation_is_refused(tmp_path, ending, part, said):
    pytest.importorskip("av", reason="what is no picture is taken for a film, which PyAV reads")
    frames = [Image.effect_noise((40, 40), 90).convert("RGB") for _ in range(6)]
    data = animation(tmp_path / f"a{ending}", frames).read_bytes()
    path = tmp_path / f"cut{ending}"
    path.write_bytes(cut(data, part))
    with pytest.raises(InputError, match=said) as error:
        VideoRef(str(path)).open()
    assert str(tmp_path) not in str(error.value)


def test_what_is_no_clip_is_refused(tmp_path):
    pytest.importorskip("av", reason="what is no picture is taken for a film, which PyAV reads")
    (tmp_path / "a.mp4").write_bytes(b"plain text, no film at all" * 9)
    with pytest.raises(InputError, match="no moving picture that can be read"):
        VideoRef(str(tmp_path / "a.mp4")).open()
    with pytest.raises(InputError, match="there is no such file"):
        VideoRef(str(tmp_path / "b.webp")).open()


def test_the_content_tells_the_format_and_not_the_name(tmp_path):
    pytest.importorskip("av")
    gif = animation(tmp_path / "a.gif", pictures(3)).rename(tmp_path / "a.mp4")
    assert len(VideoRef(str(gif)).open().frames) == 3
    mp4 = film(tmp_path / "b.mp4", pictures(3)).rename(tmp_path / "b.gif")
    assert len(VideoRef(str(mp4)).open().frames) == 3


@pytest.mark.parametrize(("setting", "value"), [("frames", 0), ("size", 0)])
def test_wrong_settings_are_named(setting, value):
    with pytest.raises(InputError, match=f"VideoRef.{setting}: 0 given"):
        VideoRef("a.webp", **{setting: value})


def test_of_thousands_of_frames_pictures_are_made_of_those_that_are_kept_alone(tmp_path, monkeypatch):
    path = tmp_path / "long.gif"
    frames = (Image.new("L", (8, 8), n % 250) for n in range(2000))
    next(frames).save(path, save_all=True, append_images=frames, duration=20)
    made = []
    monkeypatch.setattr("kdmm.data.video_ref.shrunk", lambda image, size: made.append(image) or shrunk(image, size))
    clip = VideoRef(str(path), frames=5).open()
    assert len(clip.frames) == len(made) == 5
    assert [frame.getpixel((0, 0))[0] for frame in clip.frames] == [
        place % 250 for place in (200, 600, 1000, 1400, 1800)
    ]
    assert clip.seconds == pytest.approx(40)


def test_kept_frames_equal_those_that_were_decoded(tmp_path):
    path = animation(tmp_path / "a.gif", pictures(3), [100, 100, 500])
    store = FrameStore(str(tmp_path / "store"))
    plain = VideoRef(str(path)).open()
    first, again = (VideoRef(str(path), store=store).open() for _ in range(2))
    for clip in (first, again):
        assert clip.seconds == plain.seconds
        assert all(map(same, clip.frames, plain.frames))
    (file,) = (tmp_path / "store").iterdir()
    file.write_bytes(b"broken")
    assert all(map(same, VideoRef(str(path), store=store).open().frames, plain.frames))
    with Image.open(file) as strip:
        assert strip.size == (32, 3 * 24)  # each picture once, however long it is shown


def test_a_kept_clip_is_not_decoded_and_a_changed_one_is(tmp_path):
    store, calls = FrameStore(str(tmp_path)), []

    def read(number):
        calls.append(number)
        return VideoRef(str(animation(tmp_path / f"{number}.webp", pictures(number)))).open()

    assert [len(store.get(name, lambda n=n: read(n)).frames) for name, n in (("a", 2), ("a", 3), ("b", 4))] == [2, 2, 4]
    assert calls == [2, 4]


class TestFilms:
    """What PyAV reads."""

    @pytest.fixture(autouse=True)
    def _av(self):
        pytest.importorskip("av", reason="films need the package av")

    @pytest.mark.parametrize("ending", [".mp4", ".mkv", ".avi"])
    def test_frames_are_those_that_were_written(self, tmp_path, ending):
        written = pictures(20, 64, 48)
        clip = VideoRef(str(film(tmp_path / f"a{ending}", written))).open()
        assert len(clip.frames) == 20
        assert clip.seconds == pytest.approx(20 / 25, abs=0.05)
        for frame, expected in zip(clip.frames, written, strict=True):
            assert np.abs(np.asarray(frame).astype(float) - np.asarray(expected)).mean() < 12  # a bar between colours

    @pytest.mark.parametrize(("count", "most"), [(100, 4), (400, 5), (33, 7)])
    def test_few_of_many_frames_are_the_middles_of_equal_parts(self, tmp_path, count, most):
        shades = [Image.new("RGB", (32, 32), (shade, shade, shade)) for shade in np.linspace(0, 250, count).astype(int)]
        clip = VideoRef(str(film(tmp_path / "a.mp4", shades, key_every=50)), frames=most).open()
        found = [np.asarray(frame).mean() for frame in clip.frames]
        expected = [np.asarray(shades[place]).mean() for place in spread(count, most)]
        assert found == pytest.approx(expected, abs=3)

    def test_distant_frames_are_reached_by_key_frames(self, tmp_path, monkeypatch):
        shades = [Image.new("RGB", (32, 32), (n // 4,) * 3) for n in range(1000)]
        path = film(tmp_path / "a.mp4", shades, key_every=10)
        decoded = []
        monkeypatch.setattr("kdmm.data.video_file._time", _counted(decoded))
        clip = VideoRef(str(path), frames=3).open()
        assert [np.asarray(frame).mean() for frame in clip.frames] == pytest.approx(
            [166 // 4, 500 // 4, 833 // 4], abs=2
        )
        assert len(decoded) < 120  # of 1000

    def test_a_film_without_its_length_is_read_in_bounded_memory(self, tmp_path):
        shades = [Image.new("RGB", (32, 32), (n, n, n)) for n in range(200)]
        whole = film(tmp_path / "a.mkv", shades).read_bytes()
        live = tmp_path / "live.mkv"
        live.write_bytes(_without_lengths(whole))
        found = [np.asarray(frame).mean() for frame in VideoRef(str(live), frames=5).open().frames]
        assert found == pytest.approx([0, 64, 96, 128, 192], abs=3)  # every 32nd is kept, and five of these seven

    def test_a_cut_film_is_refused(self, tmp_path):
        noise = [Image.effect_noise((64, 64), 90).convert("RGB") for _ in range(50)]
        for ending in (".mp4", ".mkv"):
            data = film(tmp_path / f"a{ending}", noise).read_bytes()
            path = tmp_path / f"cut{ending}"
            path.write_bytes(cut(data, 0.3))
            with pytest.raises(InputError, match=r"cut off|broken"):
                VideoRef(str(path)).open()

    def test_sound_alone_is_no_film(self, tmp_path):
        av = importlib.import_module("av")
        with av.open(str(tmp_path / "a.mp4"), "w") as container:
            stream = container.add_stream("aac", rate=16000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), dtype=np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        with pytest.raises(InputError, match="the file holds no moving pictures"):
            VideoRef(str(tmp_path / "a.mp4")).open()

    def test_a_film_that_was_turned_is_shown_upright(self, tmp_path):
        left_red = Image.new("RGB", (64, 32), (0, 0, 255))
        left_red.paste((255, 0, 0), (0, 0, 32, 32))
        path = film(tmp_path / "a.mp4", [left_red] * 3)
        one, nothing = (1 << 16).to_bytes(4, "big"), bytes(4)
        end = (1 << 30).to_bytes(4, "big")
        upright = one + nothing * 3 + one + nothing * 3 + end
        turned = nothing + one + nothing + (2**32 - (1 << 16)).to_bytes(4, "big") + nothing * 4 + end
        data = path.read_bytes()
        track = data.index(b"tkhd")
        place = data.index(upright, track)
        path.write_bytes(data[:place] + turned + data[place + 36 :])
        frame = VideoRef(str(path)).open().frames[0]
        assert frame.size == (32, 64)
        red = np.asarray(frame)[..., 0] > 128  # a quarter turn clockwise takes the left to the top
        assert red[:30].all()
        assert not red[34:].any()

    def test_the_missing_package_is_named_at_once_by_the_name_and_else_by_the_content(self, tmp_path, monkeypatch):
        path = film(tmp_path / "a.mp4", pictures(3))
        monkeypatch.setitem(sys.modules, "av", None)
        with pytest.raises(InputError, match=r"pip install 'kdmm\[video\]'"):
            VideoRef(str(path))
        with pytest.raises(InputError, match=r"pip install 'kdmm\[video\]'"):
            VideoRef("in a table", path.read_bytes()).open()
        assert len(VideoRef(str(animation(tmp_path / "a.gif", pictures(2)))).open().frames) == 2


def _counted(calls):
    def time(frame):
        if not calls or calls[-1] is not frame:
            calls.append(frame)
        return 0.0 if frame is None or frame.pts is None else float(frame.pts * frame.time_base)

    return time


def _without_lengths(data):
    """Return a Matroska file without the length of the whole (element 4489) and of its stream (the tag DURATION)."""
    place = data.index(b"\x44\x89\x88")
    data = data[:place] + b"\xec\x89" + bytes(9) + data[place + 11 :]  # a void of the same size
    return data.replace(b"DURATION", b"DURATIOM")
