import http.server
import pickle
import threading
from collections import Counter

import numpy as np
import pytest

from kdmm.data import VideoRef, WebDataset, file_memory
from kdmm.data.feed import EVAL_PASS, Place, Turn
from kdmm.data.sample import BadSample
from kdmm.data.shards import count_samples
from kdmm.data.stream import Stream
from kdmm.errors import InputError
from tests.data.clips import animation, pictures
from tests.data.files import encoded, picture, write_shard
from tests.data.sounds import encoded as encoded_sound
from tests.data.sounds import noise

SHARDS = 6


@pytest.fixture
def shards(tmp_path):
    """Six shards of 3 to 8 samples, ``x<shard>_<number>``."""
    for shard in range(SHARDS):
        content = {
            f"x{shard}_{n}": {"png": encoded(n), "txt": f"text {n} of {shard}", "json": {"caption": "ignored "}}
            for n in range(3 + shard)
        }
        write_shard(tmp_path / f"{shard:03}.tar", content)
    return tmp_path


TOTAL = sum(range(3, 3 + SHARDS))


def feed(shards, split="train", **settings):
    return WebDataset(f"{shards}/{{000..005}}.tar", **settings).feed(split, "web", 0)


def batch(feed, turn):
    return [(sample.id, number) for sample, number in feed.read(feed.training_request(turn))]


def epoch_of(feed, epoch, count, batches, first=True, rank=0, world=1, readers=1):
    place = Place(rank, world, readers)
    return [batch(feed, Turn(epoch, n, batches, count, first, place)) for n in range(batches)]


@pytest.mark.parametrize(("world", "readers"), [(1, 1), (2, 1), (1, 3), (3, 2)])
def test_a_pass_reads_each_shard_once_over_ranks_and_workers(shards, world, readers):
    found = []
    for rank in range(world):
        for sample, _ in [
            each for b in epoch_of(feed(shards), 0, 1, 60, rank=rank, world=world, readers=readers) for each in b
        ]:
            found.append((rank, sample))
    readers_of = {}
    for rank, sample in found:
        readers_of.setdefault(sample.split("/")[0], set()).add(rank)
    assert len(readers_of) == SHARDS
    assert all(len(ranks) == 1 for ranks in readers_of.values())  # no shard goes to two processes


def test_one_reader_gives_each_sample_once_a_pass_in_an_order_of_its_own(shards):
    orders = [[name for b in epoch_of(feed(shards), epoch, 3, TOTAL // 3) for name, _ in b] for epoch in (0, 1)]
    for order in orders:
        assert len(order) == len(set(order)) == TOTAL
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
    assert all(number == 1 for b in epoch_of(feed(shards), 1, 3, 3) for _, number in b)
    assert orders[0][0].endswith(".tar/x" + orders[0][0][2] + orders[0][0].split("x")[1][1:])


def test_without_a_buffer_samples_keep_their_order_within_a_shard(shards):
    order = [name for b in epoch_of(feed(shards, shuffle=0), 0, 3, TOTAL // 3) for name, _ in b]
    for shard in range(SHARDS):
        own = [name for name in order if name.startswith(f"{shard:03}")]
        assert own == sorted(own)
        assert order.index(own[-1]) - order.index(own[0]) == len(own) - 1
    assert [name[:3] for name in order] != sorted(name[:3] for name in order)


@pytest.mark.parametrize("readers", [1, 2])
@pytest.mark.parametrize("first", [True, False])
def test_reading_goes_on_exactly_from_any_batch_in_any_process(shards, first, readers):
    """Each worker answers the requests for its batches; another that starts later gives the same."""
    turns = [Turn(epoch, n, 5, 4, first, Place(0, 1, readers)) for epoch in range(4) for n in range(5)]
    whole = feed(shards, shuffle=7)
    expected = [batch(whole, turn) for turn in turns]
    for start in (1, 5, 7, 13):
        later = pickle.loads(pickle.dumps(whole))
        assert [batch(later, turn) for turn in turns[start:]] == expected[start:]
    for worker in (0, 1):
        alone = feed(shards, shuffle=7)
        assert [batch(alone, turn) for turn in turns[worker::2]] == expected[worker::2]


def test_other_sources_go_round_with_passes_of_their_own(shards):
    source = feed(shards)
    found = [each for epoch in range(10) for b in epoch_of(source, epoch, 4, 6, first=False) for each in b]
    passes = Counter(number for _, number in found)
    assert [passes[number] for number in range(7)] == [TOTAL] * 7
    assert len(set(found[: 7 * TOTAL])) == 7 * TOTAL


def test_a_lane_with_too_few_samples_reads_its_shards_again(shards):
    """Two readers of unequal shards: each gives as many as the pass asks for."""
    found = [epoch_of(feed(shards), 0, 4, 4, rank=rank, world=6) for rank in range(6)]
    assert all(len(batches) == 4 and all(len(b) == 4 for b in batches) for batches in found)
    sizes = Counter(name for batches in found for b in batches for name, _ in b)
    assert {name[:3] for name in sizes} == {f"{n:03}" for n in range(SHARDS)}
    assert max(sizes[name] for name in sizes if name.startswith("000")) == 6  # 16 samples from 3


def test_evaluation_is_in_order_from_any_place(tmp_path, shards):
    source = WebDataset({"train": f"{shards}/000.tar", "val": [f"{shards}/003.tar", f"{shards}/001.tar"]})
    assert source.splits == ("train", "val")
    val = source.feed("val", "web", 0)
    assert len(val) == 10
    found = [(s.id, n) for rows in ([0, 2], [4, 6, 9]) for s, n in val.read(val.evaluation_request(rows))]
    names = [f"003.tar/x3_{n}" for n in range(6)] + [f"001.tar/x1_{n}" for n in range(4)]
    assert found == [(names[row], EVAL_PASS) for row in (0, 2, 4, 6, 9)]
    assert val.read(val.evaluation_request([1]))[0][0].id == names[1]


def test_samples_are_read_from_their_files(tmp_path):
    content = {
        "dir/a": {"jpg": encoded(1, "JPEG"), "json": {"caption": ["one", "two"], "other": 3}},
        "dir/b": {"webp": encoded(2, "WEBP"), "txt": " words \n"},
        "dir/c": {"JPEG": encoded(3, "JPEG")},
        "dir/d": {"txt": "alone"},
        "dir/e": {"png": encoded(4), "json": {"title": "no caption"}},
    }
    source = WebDataset({"val": write_shard(tmp_path / "a.tar", content)}).feed("val", "web", 0)
    samples = [sample for sample, _ in source.read(source.evaluation_request(range(5)))]
    assert [(s.id, s.captions, s.image is None) for s in samples] == [
        ("a.tar/dir/a", ("one", "two"), False),
        ("a.tar/dir/b", ("words",), False),
        ("a.tar/dir/c", (), False),
        ("a.tar/dir/d", ("alone",), True),
        ("a.tar/dir/e", (), False),
    ]
    assert np.array_equal(np.asarray(samples[4].image.open()), np.asarray(picture(4)))
    assert samples[0].origin == f"{tmp_path}/a.tar, sample 'dir/a'"


def test_sounds_are_read_beside_pictures_and_captions(tmp_path):
    content = {
        "a": {"wav": encoded_sound(noise(0.1), kind="FLOAT"), "txt": "rain"},
        "b": {"flac": encoded_sound(noise(0.1, 2), "FLAC"), "png": encoded(1), "json": {"caption": ["wind"]}},
        "c": {"OGG": encoded_sound(noise(0.2), "OGG")},
        "d": {"mp3": encoded_sound(noise(0.3, rate=44_100), "MP3", rate=44_100), "txt": "sea"},
        "e": {"txt": "alone"},
    }
    source = WebDataset({"val": write_shard(tmp_path / "a.tar", content)}).feed("val", "web", 0)
    samples = [sample for sample, _ in source.read(source.evaluation_request(range(5)))]
    assert [(list(sample.media), sample.captions) for sample in samples] == [
        (["audio"], ("rain",)),
        (["image", "audio"], ("wind",)),
        (["audio"], ()),
        (["audio"], ("sea",)),
        ([], ("alone",)),
    ]
    clips = [sample.audio.open() for sample in samples[:4]]
    assert np.array_equal(clips[0].samples.numpy().T, noise(0.1).astype(np.float32))
    assert [(tuple(clip.samples.shape), clip.rate) for clip in clips] == [
        ((1, 1600), 16_000),
        ((2, 1600), 16_000),
        ((1, 3200), 16_000),
        ((1, 13_230), 44_100),
    ]
    assert np.array_equal(np.asarray(samples[1].image.open()), np.asarray(picture(1)))
    assert [sample.audio.path for sample in samples[:4]] == ["a.wav", "b.flac", "c.ogg", "d.mp3"]


def test_clips_are_read_beside_pictures_and_captions(tmp_path):
    moving = {ending: animation(tmp_path / f"m{ending}", pictures(3)).read_bytes() for ending in (".gif", ".webp")}
    content = {
        "a": {"gif": moving[".gif"], "txt": "three frames"},
        "b": {"clip.webp": moving[".webp"], "png": encoded(1)},
        "c": {"webp": moving[".webp"]},
    }
    source = WebDataset({"val": write_shard(tmp_path / "a.tar", content)}).feed("val", "web", 0)
    samples = [sample for sample, _ in source.read(source.evaluation_request(range(3)))]
    assert [(list(sample.media), sample.captions) for sample in samples] == [
        (["video"], ("three frames",)),
        (["image", "video"], ()),
        (["image"], ()),
    ]
    for sample, ending in zip(samples[:2], (".gif", ".webp"), strict=True):
        found, expected = sample.video.open().frames, VideoRef(str(tmp_path / f"m{ending}")).open().frames
        assert [frame.tobytes() for frame in found] == [frame.tobytes() for frame in expected]
        assert len(found) == 3


def test_bad_samples_are_told(tmp_path):
    content = {
        "a": {"png": encoded(1), "json": b"{not json"},
        "b": {"png": encoded(1), "txt": b"\xff\xfe"},
        "c": {"cls": "3"},
        "d": {"png": encoded(1), "json": {"caption": 3}},
        "e": {"png": encoded(1), "json": "[1]"},
        "f": {"png": encoded(1), "json": "[" * 200_000},
    }
    source = WebDataset({"val": write_shard(tmp_path / "s.tar", content)}).feed("val", "web", 0)
    found = [sample for sample, _ in source.read(source.evaluation_request(range(6)))]
    assert all(isinstance(sample, BadSample) for sample in found)
    said = ["caption cannot be read", "caption cannot be read", "nor a clip nor a caption, only files ending in cls"]
    said += ["neither text", "no object", "caption cannot be read"]
    for key, sample, part in zip("abcdef", found, said, strict=True):
        assert sample.id == f"s.tar/{key}"
        assert part in sample.reason
        assert sample.origin == f"{tmp_path}/s.tar, sample {key!r}"


def test_classes_are_files_or_keys(tmp_path):
    content = {
        "a": {"png": encoded(1), "cls": "3\n", "json": {"caption": "one", "genre": 0}},
        "b": {"txt": "two", "cls": "0", "json": {"genre": 12}},
        "c": {"txt": "three", "cls": "-1", "json": {"genre": 1}},
        "d": {"txt": "four", "cls": "1", "json": {"genre": 1.7}},
        "e": {"txt": "five", "json": {"genre": 1}},
    }
    path = write_shard(tmp_path / "a.tar", content)
    found = [sample for sample, _ in read_all(WebDataset({"val": path}, labels=("cls", "genre")))]
    assert [dict(sample.labels) for sample in found[:2]] == [{"cls": 3, "genre": 0}, {"cls": 0, "genre": 12}]
    assert [sample.reason for sample in found[2:]] == [
        "the label 'cls' is '-1'; a class number, 0 or more, is needed, or `unlabelled: true`",
        "the label 'genre' is 1.7; a class number, 0 or more, is needed",
        "there is neither a file ending in .cls nor a key 'cls' in a .json file; "
        "give either, or set `unlabelled: true`",
    ]
    assert all(not sample.labels for sample, _ in read_all(WebDataset({"val": path})))


def test_samples_may_be_without_a_class_where_that_is_allowed(tmp_path):
    content = {
        "a": {"txt": "one", "cls": "3"},
        "b": {"txt": "two", "cls": "-1\n"},
        "c": {"txt": "three", "cls": " "},
        "d": {"txt": "four"},
        "e": {"json": {"caption": "five", "cls": None}},
        "f": {"json": {"caption": "six", "cls": -1}},
        "g": {"txt": "seven", "cls": "-2"},
    }
    source = WebDataset({"val": write_shard(tmp_path / "a.tar", content)}, labels=["cls"], unlabelled=True)
    *found, bad = [sample for sample, _ in read_all(source)]
    assert [sample.labels["cls"] for sample in found] == [3, -1, -1, -1, -1, -1]
    assert "the label 'cls' is '-2'" in bad.reason
    walked = list(pickle.loads(pickle.dumps(source)).feed("val", "web", 0).walk())
    assert [getattr(sample, "labels", None) for sample in walked] == [*(sample.labels for sample in found), None]


def test_what_a_shard_holds_is_known_without_its_media(tmp_path):
    content = {
        "dir/a": {"JPG": encoded(1, "JPEG"), "json": {"caption": ["one", "two"], "kind": 2}},
        "dir/b": {"txt": "b\n", "cls": "7"},
        "c.d": {"png": encoded(2)},
        "e": {"png": encoded(3), "txt": b"\xff\xfe"},
        "f": {"npy": bytes(100)},
        "__g__/h": {"txt": "passed over"},
    }
    path = write_shard(tmp_path / "a.tar", content)
    source = WebDataset({"val": path}).feed("val", "web", 0)
    read = [sample for sample, _ in source.read(source.evaluation_request(range(len(source))))]
    walked = list(source.walk())
    assert len(walked) == len(read) == count_samples(path) == 5
    for found, expected in zip(walked, read, strict=True):
        assert (type(found), found.id, found.origin) == (type(expected), expected.id, expected.origin)
        if isinstance(expected, BadSample):
            assert found.reason == expected.reason
        else:
            assert (found.captions, list(found.media)) == (expected.captions, list(expected.media))
    labelled = WebDataset({"val": write_shard(tmp_path / "b.tar", {"b": content["dir/b"]})}, labels=["cls"])
    assert [sample.labels for sample in labelled.feed("val", "web", 0).walk()] == [{"cls": 7}]


def test_what_a_shard_holds_is_found_out_once(shards, monkeypatch, tmp_path):
    monkeypatch.setenv("KDMM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_memory, "EVERY_S", 0.0)
    monkeypatch.setattr(file_memory, "SETTLED_NS", -1)
    first = feed(shards)
    assert (len(first), len(list(first.walk())), len(first.identities())) == (TOTAL, TOTAL, SHARDS)
    before = first.identities()
    monkeypatch.setattr("kdmm.data.shards.tarfile.open", None)
    again = feed(shards)
    assert (len(again), [each.id for each in again.walk()]) == (TOTAL, [each.id for each in first.walk()])
    assert again.identities() == before


def test_training_comes_to_all_samples_and_evaluation_to_the_stated_ones(shards):
    assert [feed(shards, samples=n).reach for n in (5, None, 1000)] == [TOTAL] * 3
    val = WebDataset({"val": f"{shards}/000.tar"}, samples={"val": 2}).feed("val", "web", 0)
    assert (val.reach, [each.id for each in val.walk()]) == (2, ["000.tar/x0_0", "000.tar/x0_1"])
    many = WebDataset({"val": f"{shards}/000.tar"}, samples={"val": 5}).feed("val", "web", 0)
    with pytest.raises(InputError, match="hold 3 samples where 5 were stated"):
        list(many.walk())
    remote = WebDataset("http://localhost/{0..1}.tar", samples=7).feed("train", "web", 0)
    assert (remote.reach, remote.walk(), list(remote.identities())) == (7, None, ["0.tar", "1.tar"])


@pytest.mark.parametrize(
    ("urls", "names"),
    [
        (["/x/a/0.tar", "/x/a/1.tar"], ["0.tar", "1.tar"]),
        (["/x/a/0.tar", "/x/b/0.tar"], ["a/0.tar", "b/0.tar"]),
        (["/x/0.tar", "/x/b/c/0.tar"], ["0.tar", "b/c/0.tar"]),
        (["http://h/a/0.tar", "http://h/b/0.tar"], ["a/0.tar", "b/0.tar"]),
    ],
)
def test_ids_name_shards_below_the_folder_that_they_share(urls, names):
    assert list(Stream(urls, 1, "web", 0, 0, "caption").names.values()) == names


def read_all(source):
    feed = source.feed("val", "web", 0)
    return feed.read(feed.evaluation_request(range(len(feed))))


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize("size", [100, 700, 2560, 5000])
def test_a_shard_that_is_cut_off_is_named(tmp_path, size):
    path = tmp_path / "s.tar"
    write_shard(path, {f"k{n}": {"png": encoded(n), "txt": "a"} for n in range(5)})
    whole = path.stat().st_size
    assert size < whole
    cut(path, size)
    for samples in (None, {"val": 5}):
        with pytest.raises(InputError, match=r"s\.tar' cannot be read"):
            read_all(WebDataset({"val": str(path)}, samples=samples))


def test_other_files_are_no_shards(tmp_path):
    (tmp_path / "s.tar").write_bytes(b"")
    (tmp_path / "t.tar").write_bytes(b"no tar" * 1000)
    for name in ("s.tar", "t.tar"):
        with pytest.raises(InputError, match=f"{name}' cannot be read"):
            read_all(WebDataset({"val": str(tmp_path / name)}))


def test_a_wrong_number_of_samples_is_told(shards):
    with pytest.raises(InputError, match=r"hold 3 samples where 5 were stated. Correct WebDataset.samples"):
        read_all(WebDataset({"val": f"{shards}/000.tar"}, samples={"val": 5}))
    empty = write_shard(shards / "empty.tar", {})
    with pytest.raises(InputError, match="val split has no samples"):
        WebDataset({"val": empty}).feed("val", "web", 0)
    with pytest.raises(InputError, match=r"empty.tar hold no samples"):
        batch(WebDataset(empty, samples=3).feed("train", "web", 0), Turn(0, 0, 1, 2, True, Place()))


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        ("pipe:cat a.tar", ["'pipe:cat a.tar' is refused", "`pipe:`"]),
        ("PIPE:cat a.tar", ["refused"]),
        ("s3://bucket/a.tar", ["refused", "`s3:`"]),
        ("file:///etc/passwd", ["refused"]),
        (["a.tar"], ["no shard 'a.tar'"]),
        ("a{0..2.tar", ["braces of 'a{0..2.tar' do not match"]),
        ([], ["no shards given"]),
        ({"valid": "a.tar"}, ["unknown split 'valid'", "Did you mean 'val'?"]),
    ],
)
def test_urls_that_are_no_shards_are_refused(urls, said):
    with pytest.raises(InputError) as error:
        WebDataset(urls)
    assert all(part in str(error.value) for part in ["WebDataset.urls", *said]), error.value


def test_a_missing_shard_has_its_nearest_name(shards):
    with pytest.raises(InputError, match=r"no shard .*/006.tar'. Did you mean '00\d.tar'"):
        WebDataset(f"{shards}/{{000..007}}.tar")


def test_each_process_needs_a_shard(shards):
    source = WebDataset(f"{shards}/{{000..001}}.tar").feed("train", "web", 0)
    with pytest.raises(InputError, match="'web' has 2 shards for 3 processes"):
        source.training_request(Turn(0, 0, 1, 1, True, Place(0, 3, 1)))


def test_what_needs_a_list_of_samples_is_refused(shards):
    source = WebDataset(f"{shards}/000.tar")
    with pytest.raises(InputError, match="gives no list of its samples"):
        source.samples("train")
    with pytest.raises(InputError, match="gives no list of its samples"):
        _ = source.feed("train", "web", 0).samples
    assert source.feed("train", "web", 0).describe() == {"samples": 3, "shards": 1}


@pytest.fixture
def server(shards):
    """Serve the shards; ``/cut/`` ends each of them after 2,000 bytes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            data = (shards / self.path.rpartition("/")[2]).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:2000] if self.path.startswith("/cut/") else data)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def test_shards_are_read_by_url(shards, server):
    by_url = WebDataset({"val": f"{server}/{{000..002}}.tar"}, samples={"val": 12})
    by_path = WebDataset({"val": f"{shards}/{{000..002}}.tar"})
    assert [s.id for s, _ in read_all(by_url)] == [s.id for s, _ in read_all(by_path)]
    with pytest.raises(InputError, match="shards behind URLs are not counted"):
        WebDataset(f"{server}/000.tar").feed("train", "web", 0)


def test_a_connection_that_ends_early_is_told(server):
    source = WebDataset({"val": f"{server}/cut/000.tar"}, samples={"val": 3})
    with pytest.raises(InputError, match=r"/cut/000.tar' cannot be read: .*early"):
        read_all(source)
    source = WebDataset({"val": "http://127.0.0.1:9/000.tar"}, samples={"val": 3})
    with pytest.raises(InputError, match="cannot be read"):
        read_all(source)
