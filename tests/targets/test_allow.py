"""A YAML from a stranger runs nothing: what may be named, and every way out that we know of."""

import inspect
from pathlib import Path

import pytest

from kdmm.errors import InputError
from kdmm.targets import resolve
from kdmm.targets.allow import refused_argument


@pytest.fixture(autouse=True)
def _toybox(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "packages"))


ALLOWED = [
    "kdmm.losses.Affinity",
    "kdmm.losses.pairs.affinity.Affinity",
    "kdmm.models.OpenClip",
    "torch.nn.Linear",
    "torch.nn.modules.linear.Linear",
    "torch.optim.AdamW",
    "torch.optim.lr_scheduler.CosineAnnealingLR",
    "lightning.pytorch.callbacks.EarlyStopping",
    "lightning.pytorch.loggers.CSVLogger",
    "lightning.pytorch.strategies.DDPStrategy",
    "lightning.pytorch.profilers.SimpleProfiler",
    "torchvision.transforms.v2.RandomCrop",
    "torchmetrics.classification.MulticlassAccuracy",
    "timm.create_model",
    "timm.models.vision_transformer.VisionTransformer",
    "open_clip.create_model",
    "open_clip.CLIP",
    "transformers.BertConfig",
    "transformers.get_cosine_schedule_with_warmup",
]


@pytest.mark.parametrize("target", ALLOWED)
def test_components_are_found(target):
    found = resolve(target)
    assert inspect.isclass(found) or inspect.isfunction(found)
    assert found.__name__ == target.rpartition(".")[2]


ESCAPES = {
    # attribute walks through what a module imports
    "kdmm.config.os.system": "not in an allowed namespace",
    "kdmm.losses.pairs.affinity.Affinity.reads": "no module 'kdmm.losses.pairs.affinity.Affinity'",
    "kdmm.teachers.cache.files.os.system": "no module 'kdmm.teachers.cache.files.os'",
    "torch.nn.modules.module.functools.partial": "no module 'torch.nn.modules.module.functools'",
    "torch.nn.functional.torch.load": "no module 'torch.nn.functional.torch'",
    "transformers.os.system": "no module 'transformers.os'",
    # a module, a constant, a builtin
    "kdmm.teachers.cache.files.os": "is a module",
    "torch.nn.functional.torch": "is a module",
    "torch.nn.functional.linear": "is a builtin_function_or_method",
    # re-exports of what is defined elsewhere
    "torch.nn.modules.module.namedtuple": "defined in collections",
    "torch.nn.modules.container.chain": "defined in itertools",
    "kdmm.models.artifact.save_file": "defined in safetensors",
    "kdmm.models.artifact.Path": "defined in pathlib",
    "torch.optim.lr_scheduler.partial": "defined in functools",
    # outside the list
    "os.system": "not in an allowed namespace",
    "builtins.eval": "not in an allowed namespace",
    "subprocess.Popen": "not in an allowed namespace",
    "torch.load": "not in an allowed namespace",
    "torch.hub.load": "not in an allowed namespace",
    "torch.nnx.Linear": "not in an allowed namespace",
    "lightning.pytorch.Trainer": "not in an allowed namespace",
    "kdmm.run.fit": "not in an allowed namespace",
    "kdmm.fit": "not in an allowed namespace",
    "kdmm.config.save": "not in an allowed namespace",
    "kdmm.errors.InputError": "not in an allowed namespace",
    # loaders and runners inside the namespaces
    "transformers.pipeline": "not a component",
    "transformers.AutoModel": "not a component",
    "transformers.dynamic_module_utils.get_class_from_dynamic_module": "not a component",
    "transformers.testing_utils.execute_subprocess_async": "not a component",
    "timm.models.load_checkpoint": "not a component",
    "timm.models.resume_checkpoint": "not a component",
    "timm.models.load_state_dict": "not a component",
    "open_clip.get_tokenizer": "not a component",
    "torchmetrics.multimodal.CLIPScore": "defined in torchmetrics.multimodal",
    "torchmetrics.multimodal.clip_score.CLIPScore": "defined in torchmetrics.multimodal",
    # private names, and what is no name
    "timm.models._factory.create_model": "is private",
    "torch.nn.Linear.__init__": "is private",
    "kdmm.losses.__builtins__": "is private",
    "Linear": "not in an allowed namespace",
    "": "found ''",
    "torch.nn.": "found 'torch.nn.'",
    ".torch.nn.Linear": "found '.torch.nn.Linear'",
    "torch.nn.Linear()": "found 'torch.nn.Linear()'",
    "torch.nn": "not in an allowed namespace",
    # kdmm's own, but not public
    "kdmm.losses.pairs.affinity.row_divergence": "is not public",
    "kdmm.models.load_model": "is a helper",  # builds what a file says, with an `allow` of the YAML's choice
    "kdmm.models.save_model": "is a helper",
}


@pytest.mark.parametrize(("target", "message"), ESCAPES.items())
def test_ways_out_are_closed(target, message):
    with pytest.raises(InputError) as caught:
        resolve(target, "module._target_")
    assert message in str(caught.value)
    assert str(caught.value).startswith("module._target_: ")


@pytest.mark.parametrize("target", [None, 3, ["torch.nn.Linear"], {"a": 1}])
def test_a_target_is_text(target):
    with pytest.raises(InputError, match="accepted: the dotted name of a class or function"):
        resolve(target)


def test_a_package_is_found_once_it_is_allowed():
    with pytest.raises(InputError, match=r"not in an allowed namespace.*--allow PACKAGE"):
        resolve("toybox.Net")
    assert resolve("toybox.Net", allow=["toybox"]).__name__ == "Net"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("toybox.join", "defined in posixpath"),
        ("toybox.answer", "is a int"),
        ("toybox.shortcut", "is a partial"),
        ("toybox.os.system", "no module 'toybox.os'"),
        ("toyboxes.Net", "not in an allowed namespace"),
        ("toybox.missing.Net", "no module 'toybox.missing'"),
    ],
)
def test_an_allowed_package_opens_no_other(target, message):
    with pytest.raises(InputError, match=message):
        resolve(target, allow=["toybox"])


def test_a_package_that_cannot_be_imported_says_why(tmp_path, monkeypatch):
    (tmp_path / "needy.py").write_text("import a_package_that_is_not_there\n")
    (tmp_path / "halves.py").write_text("from math import no_such_name\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match="needs the package 'a_package_that_is_not_there', which is not installed"):
        resolve("needy.Net", allow=["needy"])
    with pytest.raises(InputError, match="halves cannot be imported: cannot import name 'no_such_name'"):
        resolve("halves.Net", allow=["halves"])
    with pytest.raises(InputError, match="no module 'absent'"):
        resolve("absent.Net", allow=["absent"])


@pytest.mark.parametrize(
    ("target", "nearest"),
    [
        ("kdmm.losses.Afinity", "kdmm.losses.Affinity"),
        ("kdmm.loses.Affinity", "kdmm.losses.Affinity"),
        ("kdm.losses.Affinity", "kdmm.losses.Affinity"),
        ("kdmm.Affinity", "kdmm.losses.Affinity"),
        ("Affinity", "kdmm.losses.Affinity"),
        ("torch.optim.AdamWW", "torch.optim.AdamW"),
        ("torch.optm.AdamW", "torch.optim.AdamW"),
        ("lightning.pytorch.callback.EarlyStopping", "lightning.pytorch.callbacks.EarlyStopping"),
        ("toybox.Nett", "toybox.Net"),
    ],
)
def test_the_nearest_name_is_given(target, nearest):
    with pytest.raises(InputError) as caught:
        resolve(target, allow=["toybox"])
    assert str(caught.value).endswith(f"Did you mean {nearest!r}?")


def test_no_name_is_better_than_a_far_one():
    with pytest.raises(InputError) as caught:
        resolve("zzz.qqq.XXXX")
    assert "Did you mean" not in str(caught.value)


def test_arguments_that_run_foreign_code_are_refused():
    assert "runs no code" in refused_argument("trust_remote_code", False)
    assert "runs no code" in refused_argument("hf_trust_remote_code", True)
    assert "pickle" in refused_argument("weights_only", False)
    assert "pickle" in refused_argument("weights_only", None)
    assert refused_argument("weights_only", True) == ""
    assert refused_argument("width", True) == ""
