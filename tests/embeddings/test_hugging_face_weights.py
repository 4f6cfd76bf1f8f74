"""AST of Hugging Face, as transformers itself writes it: read, equal to ours, compared with the conf, or refused."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from desed_task.batch import Inputs
from desed_task.embedders.build import BuiltEmbedder
from desed_task.embedders.options import ASTEmbedderOptions, PANNsEmbedderOptions
from desed_task.errors import CheckpointError
from desed_task.features.kaldi import KaldiOptions
from desed_task.models.ast import AST, ASTOptions
from desed_task.models.tagger import InputShape
from desed_task.options import read_options
from desed_task.published.hugging_face import is_hugging_face
from desed_task.published.taggers import initialise, load_initial
from desed_task.tagging import TaggingOptions, require_initial_weights

# 3 rows, 4 columns of patches.
SMALL: dict[str, Any] = {
    **{"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 768},
    **{"max_length": 64, "num_mel_bins": 48, "frequency_stride": 16, "time_stride": 16, "num_labels": 5},
}
CONF: dict[str, Any] = {"model_size": "tiny224", "depth": 2, "fstride": 16, "tstride": 16}
HUB_ID = "someone/ast-0.4593"


def theirs(**changed: Any) -> Any:
    """A network of transformers whose attention is not uniform and whose head says different things."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    network = transformers.ASTForAudioClassification(transformers.ASTConfig(**(SMALL | changed))).eval()
    with torch.no_grad():
        for name, values in network.named_parameters():
            values.add_(0.1 * torch.randn_like(values) if values.dim() > 1 else 0.3 * torch.randn_like(values))
            if name.endswith("position_embeddings"):
                values.mul_(5)
    return network


@pytest.fixture(scope="module")
def small() -> Any:
    return theirs()


@pytest.fixture
def folder(small: Any, tmp_path: Path) -> Path:
    small.save_pretrained(tmp_path / "hf")
    return tmp_path / "hf"


def ours(**options: Any) -> AST:
    return AST(ASTOptions(**(CONF | options)), InputShape(64, 48), 5)


def heard() -> Tensor:
    return torch.randn(2, 64, 48, generator=torch.Generator().manual_seed(0))


def change(file: Path, **changed: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changed), encoding="utf-8")


def test_a_folder_loads_and_says_what_transformers_says(small: Any, folder: Path) -> None:
    model = ours().eval()
    report = load_initial(model, folder)
    assert (report.family, report.head) == ("AST of Hugging Face", ())
    with torch.inference_mode():
        said = small(heard())
        expected = small.audio_spectrogram_transformer(heard()).last_hidden_state
        torch.testing.assert_close(model(Inputs(heard())).weak_logits, said.logits, rtol=0, atol=1e-3)
        torch.testing.assert_close(model.embed(Inputs(heard()), "tokens"), expected, rtol=0, atol=1e-3)
    assert float((said.logits[0] - said.logits[1]).abs().max()) > 0.1  # the agreement says something


def test_a_pickle_is_read_as_well(small: Any, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(small.state_dict(), folder / "pytorch_model.bin")
    model = ours()
    load_initial(model, folder)
    assert torch.equal(model.v.norm.weight, small.audio_spectrogram_transformer.layernorm.weight)


def test_an_embedder_begins_from_a_folder(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    features = KaldiOptions(n_mels=48, target_frames=64)
    options = ASTEmbedderOptions(
        features=features, model=ASTOptions(**CONF), num_classes=5, output="global", weights=folder
    )
    with caplog.at_level("INFO"):
        embedder = BuiltEmbedder(options, 16_000, 0.6).embedder()
    assert embedder(torch.randn(1, 9600)).values.shape == (1, 1, 5)
    assert f"embedder ast: {folder}: " in caplog.text


def test_a_tagger_begins_from_a_folder(folder: Path, small: Any) -> None:
    model = ours(initialisation="audioset", weights=folder)
    initialise(model)
    assert torch.equal(model.mlp_head[1].weight, small.classifier.dense.weight)


def test_a_training_finds_its_folder_before_anything_is_packed(folder: Path, tmp_path: Path) -> None:
    conf = tmp_path / "conf.yaml"
    base = Path(__file__).parents[2] / "confs" / "tagging" / "audioset_ast.yaml"
    conf.write_text(f"base: {base}\n", encoding="utf-8")
    for weights, fault in ((folder, None), (tmp_path, "no such file of initial weights")):
        overrides = ["model.initialisation=audioset", f"model.weights={weights}"]
        options = read_options(conf, TaggingOptions, overrides)
        with pytest.raises(CheckpointError, match=fault) if fault else nullcontext():
            require_initial_weights(options)


def test_without_a_head_only_the_trunk_is_loaded(small: Any, tmp_path: Path) -> None:
    small.audio_spectrogram_transformer.save_pretrained(tmp_path)
    model = ours()
    before = model.mlp_head[1].weight.clone()
    report = load_initial(model, tmp_path)
    assert report.head[0] == "mlp_head.0.weight"
    assert torch.equal(model.mlp_head[1].weight, before)  # not what transformers fills in at random
    assert torch.equal(model.v.norm.weight, small.audio_spectrogram_transformer.layernorm.weight)


# A configuration that is not the conf's.

OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"num_attention_heads": 6}, "its num_attention_heads is 6 and the conf's model has 3; set model.model_size"),
    ({"hidden_size": 384}, "its hidden_size is 384 and the conf's model has 192; set model.model_size"),
    ({"num_hidden_layers": 3}, "its num_hidden_layers is 3 and the conf's model has 2; set model.depth"),
    ({"frequency_stride": 10}, "its frequency_stride is 10 and the conf's model has 16; set model.fstride"),
    ({"time_stride": 10}, "its time_stride is 10 and the conf's model has 16; set model.tstride"),
    ({"patch_size": 8}, "its patch_size is 8 and the conf's model has 16; name a checkpoint"),
    ({"num_mel_bins": 128}, "its 128 mel bins give 8 rows of patches and the conf's front-end gives 3; set features"),
    ({"hidden_act": "relu"}, "its hidden_act is relu and the conf's model has gelu"),
    ({"model_type": "wav2vec2"}, "holds wav2vec2, and only audio-spectrogram-transformer is read"),
]


def refuse(path: Path, model: Any = None, features: Any = None) -> str:
    with pytest.raises(CheckpointError) as refused:
        load_initial(ours() if model is None else model, path, features)
    sentence = str(refused.value)
    assert sentence.startswith(str(path))
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(("changed", "message"), OTHERS, ids=[next(iter(row[0])) for row in OTHERS])
def test_another_configuration_is_refused(changed: dict[str, Any], message: str, folder: Path) -> None:
    change(folder / "config.json", **changed)
    assert message in refuse(folder)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mean": -5.0}, "features whose mean is -5 and the conf's is -4.26774; set features.mean to -5"),
        ({"std": 4.0}, "features whose std times std_scale is 8 and the conf's is 9.13799; set features.std to 4"),
        ({"sampling_rate": 8000}, "features whose sample_rate is 8000 and the conf's is 16000"),
    ],
)
def test_another_normalisation_is_refused(changed: dict[str, Any], message: str, folder: Path) -> None:
    published = {"mean": -4.2677393, "std": 4.5689974, "sampling_rate": 16000, "num_mel_bins": 48, "max_length": 64}
    extractor = folder / "preprocessor_config.json"
    extractor.write_text(json.dumps(published), encoding="utf-8")
    features = KaldiOptions(n_mels=48, target_frames=64)
    load_initial(ours(), folder, features)
    change(extractor, **changed)
    assert message in refuse(folder, features=features)


def test_an_ast_is_no_pann(folder: Path) -> None:
    with torch.device("meta"):
        pann = BuiltEmbedder(PANNsEmbedderOptions(), 16_000, 1.0).network().network
    assert "holds an AST, the conf's model is Cnn14" in refuse(folder, pann)


# Files that are not whole.


def rewrite(folder: Path, changed: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    from safetensors.torch import load_file, save_file

    weights = {name: values.clone() for name, values in load_file(folder / "model.safetensors").items()}
    save_file(changed(weights), folder / "model.safetensors", metadata={"format": "pt"})


LAYER = "audio_spectrogram_transformer.encoder.layer.1"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            lambda w: {n: v for n, v in w.items() if n != f"{LAYER}.output.dense.bias"},
            "missing: v.blocks.1.mlp.fc2.bias",
        ),
        (
            lambda w: {n: v for n, v in w.items() if n != f"{LAYER}.attention.attention.key.bias"},
            "block 1 has no query, key and value bias",
        ),
        (lambda w: w | {"encoder.extra": torch.zeros(2)}, "holds encoder.extra, which AST has not"),
        (
            lambda w: w | {f"{LAYER}.output.dense.bias": torch.zeros(7)},
            "holds audio_spectrogram_transformer.layers.1.mlp.fc2.bias, of another shape than its AST",
        ),
        (
            lambda w: w | {f"{LAYER}.output.dense.bias": torch.full((192,), torch.nan)},
            "layers.1.mlp.fc2.bias holds values that are not finite",
        ),
    ],
    ids=["missing", "no key", "too many", "shape", "not finite"],
)
def test_weights_that_are_not_whole_are_refused(
    changed: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str, folder: Path
) -> None:
    rewrite(folder, changed)
    assert message in refuse(folder)


def test_files_that_are_not_whole_are_refused(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:5000])
    assert "transformers cannot read it" in refuse(folder)
    (folder / "model.safetensors").unlink()
    assert "holds neither model.safetensors nor pytorch_model.bin" in refuse(folder)
    (folder / "config.json").write_text("{", encoding="utf-8")
    assert "config.json: not a readable configuration" in refuse(folder)


def test_without_transformers_a_sentence_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "is read by transformers, which is not installed; pip install 'transformers>=5,<6'" in refuse(folder)


# The hub.


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        (HUB_ID, True),
        ("MIT/ast-finetuned-audioset-10-10-0.4593", True),
        ("pretrained/absent.pth", False),
        ("absent", False),
        ("a/b/c", False),
        ("/a/b", False),
    ],
)
def test_what_looks_like_a_hub_id(name: str, is_one: bool) -> None:
    assert is_hugging_face(Path(name)) is is_one


class _Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download asks for: the files of a revision, and these."""

    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        commit = "0" * 40
        name = self.path.rpartition("/")[2]
        if not self.files:
            self.send_error(404)
            return
        if self.path.startswith(f"/api/models/{HUB_ID}/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(whole), "oid": "0"} for name, whole in self.files.items()
            ]
            content = json.dumps(tree).encode()
        elif self.path.startswith(f"/api/models/{HUB_ID}"):
            siblings = [{"rfilename": name} for name in self.files]
            content = json.dumps({"id": HUB_ID, "sha": commit, "siblings": siblings}).encode()
        elif self.path.startswith(f"/{HUB_ID}/resolve/") and name in self.files:
            content = self.files[name]
        else:
            self.send_error(404)
            return
        if with_body:
            self.asked.append(name)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal of a test."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Hub]]:
    """A hub on the loopback, and a cache of Hugging Face's of its own."""
    constants = pytest.importorskip("huggingface_hub.constants")
    handler = type("Hub", (_Hub,), {"files": {}, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_hub_id_is_fetched_once(small: Any, folder: Path, hub: type[_Hub]) -> None:
    hub.files |= {path.name: path.read_bytes() for path in folder.iterdir()} | {"README.md": b"of no use"}
    for _ in range(2):
        model = ours()
        load_initial(model, Path(HUB_ID))
        assert torch.equal(model.v.norm.weight, small.audio_spectrogram_transformer.layernorm.weight)
    assert {name: hub.asked.count(name) for name in hub.files} == {
        "config.json": 1,
        "model.safetensors": 1,
        "README.md": 0,
    }


def test_a_hub_that_does_not_answer_leaves_a_sentence_with_what_to_put_where(hub: type[_Hub]) -> None:
    sentence = refuse(Path(HUB_ID))
    assert "no such file or folder here, and the hub does not give it" in sentence
    assert (
        f"put config.json and model.safetensors of https://huggingface.co/{HUB_ID} into the folder {HUB_ID}" in sentence
    )


def test_a_hub_id_of_something_else_is_refused(hub: type[_Hub]) -> None:
    hub.files |= {"README.md": b"a data set"}
    assert "someone/ast-0.4593: holds no config.json; name an AST" in refuse(Path(HUB_ID))


def test_what_was_put_there_stands_for_the_hub(small: Any, folder: Path, hub: type[_Hub]) -> None:
    folder.rename(folder.parent / "moved")
    Path(HUB_ID).parent.mkdir()
    (folder.parent / "moved").rename(Path(HUB_ID))
    model = ours()
    load_initial(model, Path(HUB_ID))
    assert torch.equal(model.v.norm.weight, small.audio_spectrogram_transformer.layernorm.weight)
    assert hub.asked == []
