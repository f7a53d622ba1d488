"""Run the benches: all, or those named on the command line."""

import sys

from tests.bench import audio, cache, compiled, losses, mel, peer, profile, step, tiles, trainer
from tests.bench.device import CUDA, place

BENCHES = {
    "trainer": trainer.main,
    "step": step.main,
    "profile": profile.main,
    "losses": losses.main,
    "compiled": compiled.main,
    "tiles": tiles.main,
    "audio": audio.main,
    "mel": mel.main,
    "cache": cache.main,
    "peer": peer.main,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or BENCHES:
        print(f"== {name}" + (f" {place()}" if CUDA else ""))
        BENCHES[name]()
