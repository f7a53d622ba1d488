"""One experiment's settings: a YAML file, an optional base below it and overrides above it, checked as a whole.

The only room that knows OmegaConf.
"""

from kdmm.config.experiment import check, load, save, to_yaml
from kdmm.config.files import nearest_path
from kdmm.config.shell import Config, differences, to_dict

__all__ = ["Config", "check", "differences", "load", "nearest_path", "save", "to_dict", "to_yaml"]
