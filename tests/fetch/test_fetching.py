import errno
import json
import os
import shutil
import sys
from collections import namedtuple

import pytest

from kdmm import fetch
from kdmm.errors import InputError
from kdmm.fetch.clients import CLIENTS
from tests.fetch.toys import FILES, ROOTS, expected_checksum, files_below

COMMANDS = {
    "apt": "apt-get download toy-data",
    "npm": "npm pack --ignore-scripts @toys/toy@1.0",
    "pip": "pip download --no-deps --only-binary :all: --dest . toy==1.0",
}
OWN_FOLDER = "A source also takes a folder that you already have: set its `folder`."
OTHER = {**FILES, "b.txt": b"other\n"}


def fetching(**settings):
    """Fetch the toy set; return its place and what was said."""
    lines = []
    return fetch.fetch("toy", say=lines.append, **settings), lines


def refused(**settings):
    with pytest.raises(InputError) as error:
        fetching(**settings)
    return str(error.value)


@pytest.mark.parametrize("client", ROOTS)
def test_a_set_is_fetched_once(toys, client):
    entry = toys.offer(client)
    place, lines = fetching()
    assert place == toys.place == fetch.folder("toy")
    assert files_below(place / entry.content) == FILES
    assert toys.calls() == [COMMANDS[client]]
    assert toys.left_over() == ["downloads", "fetched", "fetched/toy"]
    assert json.loads((place / "fetched.json").read_text()) == {
        "name": "toy",
        "packages": list(entry.packages),
        "version": "1.0",
        "sha256": expected_checksum(FILES),
        "known": True,
        "licence": "MIT-0",
        "credit": "the toymakers",
    }
    assert lines[:3] == ["toy: four small files", "licence: MIT-0", "credit: the toymakers"]
    again, lines = fetching()
    assert again == place
    assert lines == ["toy: it is there, and its files are as they were fetched"]
    assert toys.calls() == [COMMANDS[client]]


def test_the_licence_is_shown_before_anything_is_downloaded(toys):
    toys.offer()
    calls = {}
    fetch.fetch("toy", say=lambda line: calls.setdefault(line, len(toys.calls())))
    assert calls["licence: MIT-0"] == calls["credit: the toymakers"] == 0
    assert calls["toy: unpacking and checking"] == 1


def test_several_packages_make_one_set(toys):
    toys.stock("apt", {"more/c.txt": b"third\n"}, package="toy-more")
    both = {**FILES, "more/c.txt": b"third\n"}
    entry = toys.offer(packages=("toy-data", "toy-more"), versions={"1.0": expected_checksum(both)})
    place, _ = fetching()
    assert files_below(place / entry.content) == both
    assert toys.calls() == ["apt-get download toy-data", "apt-get download toy-more"]
    assert fetch.present("toy").version == "1.0"


@pytest.mark.parametrize("client", ROOTS)
@pytest.mark.parametrize("any_version", [False, True])
def test_other_content_of_a_known_version_is_refused(toys, client, any_version):
    toys.offer(client)
    toys.stock(client, OTHER)
    message = refused(any_version=any_version)
    assert "the content of version 1.0 is not what it should be" in message
    assert expected_checksum(OTHER)[:16] in message
    assert expected_checksum(FILES)[:16] in message
    assert toys.left_over() == ["downloads", "fetched"]
    toys.stock(client)
    assert files_below(fetching()[0] / ROOTS[client]) == FILES


@pytest.mark.parametrize("client", ROOTS)
def test_another_version_is_taken_on_request_alone(toys, client):
    toys.offer(client, versions={"0.9": "0" * 64, "1.0": expected_checksum(FILES)})
    toys.stock(client, OTHER, version="2.0")
    message = refused()
    assert f"{client} delivered version 2.0; known is 0.9 or 1.0" in message
    assert "`kdmm fetch toy --any-version`" in message
    assert OWN_FOLDER in message
    assert toys.left_over() == ["downloads", "fetched"]
    place, _ = fetching(any_version=True)
    assert files_below(place / ROOTS[client]) == OTHER
    assert toys.calls()[-1] == COMMANDS[client].replace("@1.0", "").replace("==1.0", "")  # apt has one version alone
    record = fetch.present("toy")
    assert (record.version, record.known, record.sha256) == ("2.0", False, expected_checksum(OTHER))
    assert fetching()[1] == ["toy: it is there, and its files are as they were fetched"]


def test_another_version_with_known_content_is_as_good(toys):
    toys.offer()
    toys.stock("apt", version="1.0-1build2")
    fetching()
    assert (fetch.present("toy").version, fetch.present("toy").known) == ("1.0-1build2", True)


@pytest.mark.parametrize("any_version", [False, True])
def test_a_version_without_the_folder_is_refused(toys, any_version):
    toys.offer()
    toys.stock("apt", version="3.0", root="usr/share/toy3")
    assert "Version 3.0 holds no folder usr/share/toy." in refused(any_version=any_version)
    assert toys.left_over() == ["downloads", "fetched"]


@pytest.mark.parametrize(
    ("client", "missing"), [("apt", "apt-get"), ("apt", "dpkg-deb"), ("npm", "npm"), ("pip", "pip")]
)
def test_a_missing_client_is_named(toys, monkeypatch, client, missing):
    toys.offer(client)
    (toys.folder / "bin" / missing).unlink()
    monkeypatch.setenv("PATH", str(toys.folder / "bin"))
    monkeypatch.setattr(sys, "executable", str(toys.folder / "python"))
    message = refused()
    assert message.startswith(f"toy: `{missing}` is not installed. ")
    assert message.endswith(OWN_FOLDER)
    assert toys.calls() == []


def test_pip_may_lie_beside_python_alone(toys, monkeypatch):
    toys.offer("pip")
    (toys.folder / "bin" / "pip").rename(toys.folder / "pip")
    for tool in ("cp", "cat", "sleep"):
        (toys.folder / "bin" / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(toys.folder / "bin"))
    monkeypatch.setattr(sys, "executable", str(toys.folder / "python"))
    fetching()
    assert toys.calls() == [COMMANDS["pip"]]


@pytest.mark.parametrize(("client", "help"), [("apt", "apt-get update"), ("npm", "Node.js"), ("pip", "ensurepip")])
def test_what_a_failing_client_says_is_passed_on(toys, monkeypatch, client, help):
    toys.offer(client)
    monkeypatch.setenv("TOY_FAILS", "E: could not reach the mirror")
    message = refused()
    assert message.startswith(f"toy: `{COMMANDS[client]}` failed: W: a warning; E: could not reach the mirror\n")
    assert "Is there a network?" in message
    assert help in message
    assert message.endswith(OWN_FOLDER)
    assert toys.left_over() == ["downloads", "downloads/toy"]


def test_a_client_that_delivers_nothing_has_failed(toys):
    toys.offer()
    (toys.folder / "bin" / "apt-get").write_text("#!/bin/sh\nexit 0\n")
    assert "failed: it left 0 files instead of one" in refused()


@pytest.mark.parametrize("client", ROOTS)
def test_a_damaged_archive_is_deleted_and_said_to_be(toys, client):
    toys.offer(client)
    toys.spoil(client)
    message = refused()
    assert message.startswith("toy: the download is damaged and was deleted; try again.")
    assert toys.left_over() == ["downloads", "fetched"] or toys.left_over() == ["downloads"]
    toys.stock(client)
    assert files_below(fetching()[0] / ROOTS[client]) == FILES


@pytest.mark.parametrize("client", ["npm", "pip"])
def test_a_cut_off_archive_is_damaged(toys, client):
    toys.offer(client)
    whole = (toys.folder / "store" / {"npm": "npm.tgz", "pip": "pip.whl"}[client]).read_bytes()
    toys.spoil(client, whole[: len(whole) // 2])
    assert "the download is damaged" in refused()


def test_an_archive_cannot_write_outside_its_folder(toys):
    toys.offer("npm")
    toys.stock("npm", {"../../../../evil.txt": b"!"})
    assert "the download is damaged" in refused()
    assert not list(toys.folder.parent.rglob("evil.txt"))


def spoil_a_file(place):
    (place / "usr/share/toy/b.txt").write_bytes(b"spoilt")


def delete_a_file(place):
    (place / "usr/share/toy/deep/a.bin").unlink()


def add_a_file(place):
    (place / "usr/share/toy/new.txt").write_bytes(b"new")


def delete_the_record(place):
    (place / "fetched.json").unlink()


def cut_the_record(place):
    (place / "fetched.json").write_text('{"name": "t')


@pytest.mark.parametrize("damage", [spoil_a_file, delete_a_file, add_a_file, delete_the_record, cut_the_record])
def test_a_damaged_set_is_fetched_again(toys, damage):
    entry = toys.offer()
    place, _ = fetching()
    damage(place)
    _, lines = fetching()
    assert lines[0].endswith("so it is fetched again")
    assert files_below(place / entry.content) == FILES
    assert len(toys.calls()) == 2
    assert toys.left_over() == ["downloads", "fetched", "fetched/toy"]


def test_a_set_of_an_older_catalogue_is_fetched_again(toys):
    toys.offer()
    fetching()
    toys.offer(versions={"2.0": expected_checksum(OTHER)})
    toys.stock("apt", OTHER, version="2.0")
    place, lines = fetching()
    assert "version 1.0, which this kdmm does not know" in lines[0]
    assert files_below(place / ROOTS["apt"]) == OTHER


Usage = namedtuple("Usage", ["total", "used", "free"])


@pytest.mark.parametrize(("free", "fits"), [(5_999_999, False), (6_000_000, True)])
def test_what_does_not_fit_is_not_begun(toys, monkeypatch, free, fits):
    toys.offer(download_mb=2, disk_mb=4)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - free, free))
    if fits:
        fetching()
        return
    message = refused()
    assert f"the disk that holds {toys.cache} is full; 6 MB are needed" in message
    assert "KDMM_CACHE" in message
    assert OWN_FOLDER in message
    assert toys.calls() == []


def test_a_disk_that_becomes_full_leaves_nothing_but_the_download(toys, monkeypatch):
    toys.offer()
    unpack = CLIENTS["apt"].unpack

    def half(archive, folder):
        unpack(archive, folder)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(CLIENTS["apt"], "unpack", half, raising=False)
    assert "is full" in refused()
    assert list((toys.cache / "fetched").iterdir()) == []
    assert (toys.cache / "downloads/toy/toy-data/toy-data_1_all.deb").exists()
    monkeypatch.setattr(CLIENTS["apt"], "unpack", unpack)
    _, lines = fetching()
    assert "toy: toy-data was downloaded before" in lines
    assert toys.calls() == ["apt-get download toy-data"]


def test_a_client_that_finds_the_disk_full_is_understood(toys, monkeypatch):
    toys.offer()
    monkeypatch.setenv("TOY_FAILS", f"E: Write error - write (28: {os.strerror(errno.ENOSPC)})")
    assert "is full" in refused()


def test_a_cache_that_cannot_be_used_is_named(toys, monkeypatch):
    toys.offer()
    (toys.folder / "file").write_text("")
    monkeypatch.setenv("KDMM_CACHE", str(toys.folder / "file"))
    message = refused()
    assert message.startswith(f"KDMM_CACHE: the cache {toys.folder / 'file'} cannot be used")
    assert "Set it to a folder that you may write to" in message


def test_a_set_that_was_not_fetched_is_asked_for(toys):
    toys.offer()
    assert fetch.present("toy") is None
    with pytest.raises(InputError) as error:
        fetch.folder("toy", "Toy.folder")
    assert str(error.value) == (
        "Toy.folder: the set 'toy' has not been fetched: run `kdmm fetch toy`, or give `folder`, "
        "a folder that holds it."
    )


@pytest.mark.parametrize("ask", [fetch.fetch, fetch.folder, fetch.present])
def test_an_unknown_set_is_named_with_the_nearest(ask):
    with pytest.raises(InputError, match=r"unknown 'tuxpant'; accepted: tuxpaint, .* Did you mean 'tuxpaint'\?"):
        ask("tuxpant")
