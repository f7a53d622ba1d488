"""The YAML that CONTRIBUTING.md shows."""

import re
from pathlib import Path

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text("utf-8")


def shown(name):
    """The block that begins with this name, as a file in the working folder."""
    blocks = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    (block,) = (each for each in blocks if each.split()[1] == name)
    path = Path(f"{Path(name).name}.yaml")
    path.write_text(block, "utf-8")
    return path
