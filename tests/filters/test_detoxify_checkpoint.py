"""What is loaded as a checkpoint, and what is refused: nothing in one may run."""

from __future__ import annotations

import gc
import hashlib
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_detoxify import SENTENCES, build, of

from arbitrage.errors import FilterError

pytestmark = [
    pytest.mark.detoxify,
    pytest.mark.skipif(
        find_spec("detoxify") is None, reason="detoxify is not installed (make test-detoxify)"
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from small_detoxify import write_checkpoint

    made = tmp_path_factory.mktemp("detoxify")
    write_checkpoint(made, texts=SENTENCES, longest=32)
    return made


def test_safetensors_score_as_the_checkpoint_does(folder: Path, tmp_path: Path) -> None:
    from small_detoxify import CLASSES, label_config

    there = Path(shutil.copytree(folder, tmp_path / "model"))
    _save_safetensors(there)
    label_config(there, [*CLASSES[1:], CLASSES[0], "spare_1", "spare_2"])
    with pytest.raises(FilterError, match="spare_1"):
        build(there, checkpoint=str(there / "model.safetensors")).load()
    _save_safetensors(there, logits=len(CLASSES))
    label_config(there, ["toxic", "severe_toxic", "obscene", "identity_hate", *CLASSES[4:]])
    safe = build(there, checkpoint=str(there / "model.safetensors"))
    ours, expected = of(safe, SENTENCES), of(build(folder), SENTENCES)
    for name, values in ours.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)


def _save_safetensors(folder: Path, *, logits: int | None = None) -> None:
    """The weights of model.ckpt as model.safetensors, of the head the first logits only."""
    import torch
    from safetensors.torch import save_file

    weights = torch.load(folder / "model.ckpt", weights_only=True)["state_dict"]
    for part in ("weight", "bias"):
        name = f"classifier.out_proj.{part}"
        weights[name] = weights[name][:logits].clone()
    save_file(weights, folder / "model.safetensors")


class Trap:
    """Runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_checkpoint_with_code_in_it_is_refused_and_the_code_not_run(
    folder: Path, tmp_path: Path
) -> None:
    import torch

    sprung = tmp_path / "sprung"
    torch.save({"config": Trap(sprung), "state_dict": {}}, tmp_path / "trap.ckpt")
    with pytest.raises(FilterError, match="cannot be loaded as weights alone") as caught:
        build(folder, checkpoint=str(tmp_path / "trap.ckpt")).load()
    assert "no code" in caught.value.mend
    assert not sprung.exists()


def test_every_bad_checkpoint_is_an_error_that_says_the_mend(folder: Path, tmp_path: Path) -> None:
    import torch
    from small_detoxify import CLASSES, write_ckpt

    weights = torch.load(folder / "model.ckpt", weights_only=True)["state_dict"]
    whole = (folder / "model.ckpt").read_bytes()
    files = {name: tmp_path / f"{name}.ckpt" for name in ("cut", "text", "bare", "less", "other")}
    files["cut"].write_bytes(whole[: len(whole) // 2])
    files["text"].write_text("not a checkpoint")
    torch.save({"state_dict": weights}, files["bare"])
    less = {name: value for name, value in weights.items() if "out_proj" not in name}
    write_ckpt(files["less"], less, folder, CLASSES)
    write_ckpt(files["other"], weights, folder, CLASSES, model_name="AutoModelForCausalLM")
    said = {
        str(tmp_path / "none.ckpt"): "does not exist",
        str(files["cut"]): "cannot be loaded",
        str(files["text"]): "cannot be loaded",
        str(files["bare"]): "no checkpoint of Detoxify",
        str(files["less"]): "lacks 2 of the model's weights",
        str(files["other"]): 'names "AutoModelForCausalLM"',
    }
    for path, what in said.items():
        with pytest.raises(FilterError, match=what) as caught:
            build(folder, checkpoint=path).load()
        assert caught.value.mend
    hub = tmp_path / "hub.ckpt"
    write_ckpt(hub, weights, folder, CLASSES, model_type="nobody-here/no-such-model")
    for params in (
        {"huggingface_config_path": str(tmp_path / "empty")},
        {"huggingface_config_path": None, "checkpoint": str(hub)},
    ):
        with pytest.raises(FilterError, match="no model could be built") as caught:
            build(folder, **params).load()
        assert "config.json" in caught.value.mend


@pytest.fixture
def served(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a folder with the checkpoint, as the library's release is served."""
    for name, value in (("TORCH_HOME", str(tmp_path / "cache")), ("no_proxy", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    whole = (folder / "model.ckpt").read_bytes()
    for prefix in (hashlib.sha256(whole).hexdigest()[:8], "00000000"):
        (tmp_path / f"model-{prefix}.ckpt").write_bytes(whole)
    handler = partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
    gc.collect()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


# torch.hub does not close its connections.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)
def test_the_release_is_fetched_once_and_must_have_its_hash(
    folder: Path,
    served: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from detoxify import detoxify

    digest = hashlib.sha256((folder / "model.ckpt").read_bytes()).hexdigest()[:8]
    monkeypatch.setitem(detoxify.MODEL_URLS, "multilingual", f"{served}/model-{digest}.ckpt")
    expected = of(build(folder), SENTENCES)
    fetched = of(build(folder, checkpoint=None), SENTENCES)
    assert capsys.readouterr().out == ""  # a program may be reading it
    assert all((fetched[name] == expected[name]).all() for name in expected)
    monkeypatch.setitem(detoxify.MODEL_URLS, "multilingual", f"{served}/model-00000000.ckpt")
    with pytest.raises(FilterError, match="invalid hash value"):
        build(folder, checkpoint=None).load()
    monkeypatch.setitem(detoxify.MODEL_URLS, "multilingual", f"{served}/none-{digest}.ckpt")
    with pytest.raises(FilterError, match=f"cannot be had from {served}") as caught:
        build(folder, checkpoint=None).load()
    assert "filters.toxicity.checkpoint" in caught.value.mend
