import subprocess
import sys

import pytest

from kdmm import console
from kdmm.cli import main
from kdmm.fetch import CATALOGUE
from kdmm.fetch.clients import CLIENTS


def test_the_command_prints_the_place_alone_on_standard_output(toys, capsys):
    toys.offer()
    assert main(["fetch", "toy"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{toys.place}\n"
    assert err.splitlines() == [
        "toy: four small files",
        "licence: MIT-0",
        "credit: the toymakers",
        "toy: downloading toy-data with apt-get (1 MB in all)",
        "toy: unpacking and checking",
    ]
    assert main(["fetch", "toy"]) == 0
    assert capsys.readouterr() == (
        f"{toys.place}\n",
        "toy: it is there, and its files are as they were fetched\n",
    )


def test_an_unknown_version_needs_the_option(toys, capsys):
    toys.offer(versions={"0.9": "0" * 64})
    assert main(["fetch", "toy"]) == 2
    assert "--any-version" in capsys.readouterr().err
    assert main(["fetch", "toy", "--any-version"]) == 0


@pytest.mark.parametrize("words", [["fetch"], ["fetch", "--list"]])
def test_the_sets_are_listed(toys, capsys, words):
    toys.offer()
    assert main(words) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == list(CATALOGUE)
    assert rows[0][1:4] == ["161 MB", "GPL-2", "not fetched"]
    assert rows[-1] == ["toy", "1 MB", "MIT-0", "not fetched", "four small files"]
    main(["fetch", "toy"])
    capsys.readouterr()
    main(words)
    assert capsys.readouterr().out.splitlines()[-1] == "toy\t1 MB\tMIT-0\tfetched: 1.0\tfour small files"


def test_on_a_terminal_the_list_is_a_table(toys, capsys, monkeypatch):
    monkeypatch.setattr(console, "is_plain", lambda stream: False)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["fetch"]) == 0
    out = capsys.readouterr().out
    assert "licence" in out
    assert "tuxpaint" in out
    assert "\t" not in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tuxpant"], "Did you mean 'tuxpaint'?"),
        (["tuxpaint", "--list"], "give a name to fetch, or --list alone"),
        (["--any-version"], "give a name to fetch, or --list alone"),
        (["tuxpaint", "spam"], "`kdmm fetch` takes no 'spam'"),
        (["tuxpaint", "--any-versions"], "Did you mean '--any-version'?"),
    ],
)
def test_wrong_words_are_refused(toys, capsys, words, said):
    assert main(["fetch", *words]) == 2
    assert said in capsys.readouterr().err
    assert toys.calls() == []


def test_torch_is_not_imported():
    script = (
        "import sys; from kdmm.cli import main; main(['fetch']); print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_set_is_described_and_pinned():
    for name, each in CATALOGUE.items():
        assert each.name == name
        assert each.client in CLIENTS
        assert all([each.packages, each.licence, each.credit, each.holds, each.content])
        assert 0 < each.download_mb < each.disk_mb
        assert each.versions
        assert all(len(value) == 64 and int(value, 16) for value in each.versions.values())
    names = ["tuxpaint", "fillets", "fluent-emoji", "noto-emoji", "spam", "scsynth", "aisfx", "deepforest"]
    assert list(CATALOGUE) == names
