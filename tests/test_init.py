import subprocess
import sys

import pytest

import kdmm
from kdmm import comparison, distillation, run


def test_running_experiments_is_a_matter_of_the_package_itself():
    functions = ["cache", "compare", "complete", "distill", "evaluate", "fit", "generate", "load", "plan", "report"]
    assert kdmm.__all__ == ["Comparison", "Distilled", "Generated", "Run", "Written", *functions, "tune", "verify"]
    for room in (comparison, distillation, run):
        for name in room.__all__:
            assert getattr(kdmm, name) is getattr(room, name)
    assert sorted([*comparison.__all__, *distillation.__all__, *run.__all__]) == kdmm.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'kdmm' has no attribute 'fitt'"):
        _ = kdmm.fitt


def test_importing_the_package_imports_no_library():
    script = "import sys, kdmm; assert not {'torch', 'lightning', 'omegaconf', 'numpy'} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
