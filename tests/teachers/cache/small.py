"""Teachers of a few numbers, data of every kind, and a store of what the one says of the other."""

import csv

import torch
from torch import nn
from torchvision.transforms import v2

from kdmm.data import AudioRef, MultimodalDataModule, PairTable, Sample, VideoRef, WebDataset
from kdmm.losses import Affinity, Contrastive, FeatureMatch, Objective
from kdmm.models import AudioTower, ConvImage, DualEncoder, Frames, SharedSpace, TextTower, VideoTower
from kdmm.models.audio import Gain, Waveform
from kdmm.models.preprocess import Preprocess
from kdmm.outputs import scatter_present
from kdmm.teachers import Frozen
from kdmm.teachers.cache.members import members_of, recipe_of
from kdmm.teachers.cache.plan import Plan
from kdmm.teachers.cache.settings import Settings
from kdmm.teachers.cache.store import Store
from kdmm.teachers.cache.writer import Writer
from tests.data.clips import animation, pictures
from tests.data.files import Held, Letters, encoded, pairs, picture, texts, write_shard
from tests.data.sounds import RATE, noise
from tests.data.sounds import encoded as sound_bytes

FLIP = v2.RandomHorizontalFlip()
AUGMENT = {"image": [FLIP, v2.ColorJitter(0.4, 0.4, 0.4)]}
SPACE = 32  # fills texts up


class LetterText(TextTower):
    """The mean over a text's letters."""

    def __init__(self):
        super().__init__()
        self.width = 6
        self.table = nn.Embedding(128, 6)
        self.preprocess = Letters()

    def forward(self, text):
        here = (text != SPACE).unsqueeze(2)
        return (self.table(text % 128) * here).sum(1) / here.sum(1)


class Sound(AudioTower):
    def __init__(self):
        super().__init__()
        self.width = 6
        self.preprocess = Waveform(RATE, 0.01)
        self.layer = nn.Linear(160, 6)

    def forward(self, audio):
        return self.layer(audio)


class Clip(VideoTower):
    def __init__(self):
        super().__init__()
        self.width = 3
        self.preprocess = Frames(2, ConvImage([4], 8).preprocess)

    def forward(self, video):
        return video.mean((1, 3, 4))


class Pair(nn.Module):
    """Says something of a source, or a picture, and a text that it says of neither alone."""

    def __init__(self, first="source"):
        super().__init__()
        tower = LetterText() if first == "source" else ConvImage([6], 8)
        self.preprocess = Preprocess(**{first: tower.preprocess}, text=Letters())
        self.towers = nn.ModuleDict({first: tower, "text": LetterText()})

    def forward(self, batch):
        flags = {each: batch[f"present/{each}"] for each in self.towers}
        both = torch.stack(list(flags.values())).all(0)
        rows = torch.ones(int(both.sum()), 6)
        for each, tower in self.towers.items():
            if both.any():
                rows = rows * tower(batch[each])[both[flags[each]]]
        return {"logits": scatter_present(rows, both), "present/logits": both}


def two_towers(seed=1, image_size=8, width=5):
    torch.manual_seed(seed)
    return DualEncoder(ConvImage([4, 8], image_size), LetterText(), width, weights_from="a run").eval()


def teacher(seed=1, image_size=8, taps=None):
    return Frozen(two_towers(seed, image_size), taps)


def four_towers(seed=1):
    torch.manual_seed(seed)
    towers = {"image": ConvImage([4], 8), "text": LetterText(), "audio": Sound(), "video": Clip()}
    return SharedSpace(towers, 5, weights_from="a run").eval()


def write_table(folder, order=range(9), ids=True):
    """Write pictures and a table of them, whose rows come in an order."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "table.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "image", "caption", "split"])
        for n in order:
            if not (folder / f"{n}.png").exists():
                picture(n).save(folder / f"{n}.png")
            rows.writerow([f"row{n}", f"{n}.png", f"caption of {n % 4}", "val" if n % 4 == 3 else "train"])
    return PairTable(path, split="split", **({"id": "id"} if ids else {}))


def held(folder=None):
    return {"pairs": Held(train=pairs(9, captions=2), val=pairs(3, 30)), "texts": Held(train=texts(4))}


def shards(folder):
    """Shards of which some samples have no picture, and one has no caption."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(2):
        samples = {
            f"{number}{n}": {"png": encoded(10 * number + n), "json": {"caption": [f"a {n}", f"b {n} of {number}"]}}
            for n in range(5)
        }
        samples[f"{number}t"] = {"txt": f"text of {number}"}
        samples[f"{number}p"] = {"png": encoded(50 + number)}
        write_shard(folder / f"{number}.tar", samples)
    write_shard(folder / "val.tar", {f"v{n}": {"png": encoded(80 + n), "txt": f"val {n}"} for n in range(3)})
    return shards_of(folder)


def shards_of(folder):
    urls = {"train": [str(folder / f"{number}.tar") for number in range(2)], "val": str(folder / "val.tar")}
    return {"web": WebDataset(urls), "texts": Held(train=texts(2))}


def sounds(folder):
    """Sounds in memory, beside pictures."""
    samples = [
        Sample(
            f"a{n}",
            audio=AudioRef(f"{n}.wav", sound_bytes(noise(0.02, seed=n), kind="FLOAT")),
            captions=(f"sound {n}",),
        )
        for n in range(6)
    ]
    return {"sounds": Held(train=samples, val=samples[:2]), "pairs": Held(train=pairs(4))}


def clips(folder):
    """Clips in files, beside pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = [
        Sample(f"v{n}", video=VideoRef(str(animation(folder / f"{n}.gif", pictures(4 + n)))), captions=(f"clip {n}",))
        for n in range(4)
    ]
    return {"clips": Held(train=samples, val=samples[:2]), "pairs": Held(train=pairs(4))}


def data(sources, augment=AUGMENT, views=3, **settings):
    gain = {"audio": [Gain(-6, 6)]} if augment is AUGMENT else {}
    return MultimodalDataModule(
        sources, settings.pop("batch_size", 2), augment={**augment, **gain}, views=views, **settings
    )


def writer(folder, of, source, **settings):
    how = {"formats": {"": "float32"}, "batch_size": 4, "shard_rows": 8, **settings}
    members = members_of(of)
    return Writer(folder, Plan.of(members, source, Settings(**how), recipe_of(of)), members, source)


def write(folder, of, source, **settings):
    """Write a store in this process, without Lightning."""
    work = writer(folder, of, source, **settings)
    work.begin()
    for item in work:
        work.step(item)
    work.end()
    work.finish()
    return Store(folder)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def objective(pair=("image", "text")):
    features = FeatureMatch(student=pair[0], teacher=pair[0])
    terms = {
        "hard": Contrastive(list(pair)),
        "affinity": Affinity(list(pair), teacher_temperature=0.1),
        "feature": features,
    }
    return Objective(terms, {"hard": 1.0, "affinity": 1.0, "feature": 10.0})
