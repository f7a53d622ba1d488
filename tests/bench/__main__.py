"""Run the benches: all, or those named on the command line."""

import sys

from tests.bench import audio, cache, losses, mel, peer, step, tiles, trainer

BENCHES = {
    "trainer": trainer.main,
    "step": step.main,
    "losses": losses.main,
    "tiles": tiles.main,
    "audio": audio.main,
    "mel": mel.main,
    "cache": cache.main,
    "peer": peer.main,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or BENCHES:
        print(f"== {name}")
        BENCHES[name]()
