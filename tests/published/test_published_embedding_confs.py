"""A published pretrained.yaml (2022-2024) says which embedder is heard, how, and how it joins; or why it cannot."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from published_embeddings import panns_tree, pretrained_tree
from published_shapes import published_tree, write_conf

from desed_task.embedders.options import ASTEmbedderOptions, NetworkOptions, PANNsEmbedderOptions
from desed_task.embeddings.extracted import ExtractedOptions
from desed_task.errors import DesedTaskError, OptionsError
from desed_task.experiment import SedOptions
from desed_task.models.crnn import CRNNOptions
from desed_task.models.fusion import FusionOptions
from desed_task.options import check_options, read_options
from desed_task.published.conf import translate_conf, translate_stored
from desed_task.runs.conf import read_conf
from desed_task.system import build_model


def fusion_of(options: SedOptions) -> FusionOptions:
    assert isinstance(options.model, CRNNOptions)
    assert options.model.fusion is not None
    return options.model.fusion


def read(tree: dict[str, Any], folder: Path) -> SedOptions:
    return read_conf(write_conf(tree, folder))


def read_stored(tree: dict[str, Any]) -> SedOptions:
    return check_options(translate_stored(tree, "tree").tree, SedOptions)


def test_2022_hears_asts_patches_through_a_gru(tmp_path: Path) -> None:
    options = read(pretrained_tree(2022), tmp_path)
    embedder = options.embedders["ast"]
    assert isinstance(embedder, ASTEmbedderOptions)
    assert (embedder.output, embedder.mode) == ("tokens", "stored")
    assert embedder.store == tmp_path / "embeddings" / "ast"
    assert fusion_of(options) == FusionOptions(ways={"ast": "frame"})
    assert sum(parameter.numel() for parameter in build_model(options).parameters()) == 5_215_076


def test_the_conf_of_ours_is_the_published_one(tmp_path: Path, project: Path) -> None:
    theirs = read(pretrained_tree(2022), tmp_path / "recipes" / "baseline")
    ours = read_options(project / "confs" / "sed" / "compat_2022_ast.yaml", SedOptions)
    for section in ("labels", "features", "model", "augmentations", "training", "postprocessing", "energy"):
        assert getattr(theirs, section) == getattr(ours, section), section
    places = {"store": None, "weights": None, "mode": "frozen"}
    assert theirs.embedders["ast"].model_copy(update=places) == ours.embedders["ast"].model_copy(update=places)
    assert theirs.embedders["ast"].mode == ours.embedders["ast"].mode


@pytest.mark.parametrize(("kind", "way"), [("global", "global"), ("frame", "frame")])
def test_2022_with_panns(kind: str, way: str, tmp_path: Path) -> None:
    options = read(panns_tree(kind), tmp_path)
    embedder = options.embedders["panns"]
    assert isinstance(embedder, PANNsEmbedderOptions)
    assert (embedder.output, embedder.features.sample_rate) == (kind, 16_000)
    assert fusion_of(options).ways == {"panns": way}


@pytest.mark.parametrize(
    ("tree", "file"),
    [(pretrained_tree(2022), "audioset_10_10_0.4593.pth"), (panns_tree(), "Cnn14_16k_mAP%3D0.438.pth")],
    ids=["ast", "panns"],
)
def test_weights_where_they_were_downloaded_are_named_and_others_are_fetched(
    tree: dict[str, Any], file: str, tmp_path: Path
) -> None:
    name = tree["pretrained"]["model"]
    without = read(tree, tmp_path).embedders[name]
    path = tmp_path / "pretrained_models" / file
    path.parent.mkdir()
    path.touch()
    beside = read(tree, tmp_path).embedders[name]
    assert isinstance(without, NetworkOptions)
    assert isinstance(beside, NetworkOptions)
    assert (without.weights, beside.weights) == (None, path)


@pytest.mark.parametrize("way", ["frame", "interpolate", "pool1d"])
def test_since_2023_the_aggregation_names_the_way(way: str, tmp_path: Path) -> None:
    options = read(pretrained_tree(2023, {"aggregation_type": way}), tmp_path)
    embedder = options.embedders["beats"]
    assert isinstance(embedder, ExtractedOptions)
    assert (embedder.output, embedder.frames * embedder.patches, embedder.dim) == ("tokens", 496, 768)
    assert embedder.store == tmp_path / "embeddings" / "beats"
    assert fusion_of(options) == FusionOptions(ways={"beats": way})
    build_model(options)


def test_since_2023_global_is_the_way_where_no_aggregation_is_named() -> None:
    tree = pretrained_tree(2023, {"embedding_type": "global"})
    del tree["net"]["aggregation_type"]
    options = read_stored(tree)
    assert fusion_of(options).ways == {"beats": "global"}
    assert options.embedders["beats"].output == "global"


def test_2024_drops_out_and_drops_steps_before_they_join(tmp_path: Path) -> None:
    fusion = fusion_of(read(pretrained_tree(2024), tmp_path))
    assert (fusion.dropout, fusion.dropstep, fusion.dropstep_frames) == (0.2, 0.3, 16)


def test_the_2023_network_has_its_published_number_of_parameters(tmp_path: Path) -> None:
    model = build_model(read(pretrained_tree(2023), tmp_path))
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_227_236


@pytest.mark.parametrize(
    ("e2e", "freezed", "mode", "rate"), [(True, True, "frozen", 1e-5), (True, False, "learning", 0.001)]
)
def test_end_to_end_is_heard_in_the_step_and_learns_where_it_is_not_freezed(
    e2e: bool, freezed: bool, mode: str, rate: float, tmp_path: Path
) -> None:
    embedder = read(panns_tree(e2e=e2e, freezed=freezed), tmp_path).embedders["panns"]
    assert (embedder.mode, embedder.store, embedder.learning_rate) == (mode, None, rate)


def test_relative_folders_that_are_in_the_current_folder_are_taken_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "embeddings" / "ast").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    store = read(pretrained_tree(2022), tmp_path / "there").embedders["ast"].store
    assert store is not None
    assert store.resolve() == tmp_path / "here" / "embeddings" / "ast"


def test_the_log_says_which_keys_do_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree = pretrained_tree(2022)
    tree["pretrained"]["my_own_idea"] = 3
    with caplog.at_level(logging.INFO):
        read(tree, tmp_path)
        read(published_tree(2022) | {"pretrained": tree["pretrained"]}, tmp_path / "without")
    never, without = (line for line in caplog.messages if "never had an effect" in line)
    idle, _ = (line for line in caplog.messages if "have no effect here" in line)
    assert "pretrained.dest (AST's weights are at pretrained_models/" in never
    assert "pretrained.my_own_idea (no published" in never
    assert "no embeddings are used" not in never
    assert "pretrained.url (weights are named by their file)" in idle
    assert "pretrained (no embeddings are used)" in without


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (pretrained_tree(2022, model="ssast"), r"embeddings of ssast \(known are panns, ast, beats\)"),
        (pretrained_tree(2022, {"embedding_size": 2048}), r"net\.embedding_size: 2048 \(frame embeddings of ast have"),
        (pretrained_tree(2022, {"embedding_type": "clip"}), r"net\.embedding_type: clip with net\.aggregation_type"),
        (
            pretrained_tree(2023, {"aggregation_type": "global"}),
            r"net\.embedding_type: frame with .*: global \(global ",
        ),
        (pretrained_tree(2022, {"frame_emb_enc_dim": 256}), r"net\.frame_emb_enc_dim: 256"),
        (pretrained_tree(2023, e2e=True), r"pretrained\.e2e: True \(BEATs is not here; extract"),
        (pretrained_tree(2022, freezed=False), r"pretrained\.freezed: False without e2e"),
        (published_tree(2022, dropstep_recurrent=0.3), r"net\.dropstep_recurrent: 0\.3 \(without embeddings"),
    ],
)
def test_what_cannot_be_had_is_refused_by_its_key(tree: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=message) as refused:
        read(tree, tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", [None, "text", -1, 1.5, [], [None], [[1, 2], 3], {"a": 1}, True], ids=repr)
@pytest.mark.parametrize("year", [2022, 2023])
def test_no_value_of_any_key_is_met_with_more_than_one_sentence(year: int, value: Any, tmp_path: Path) -> None:
    for section, keys in {key: pretrained_tree(year)[key] for key in ("net", "pretrained")}.items():
        for key in keys:
            tree = pretrained_tree(year)
            tree[section][key] = value
            try:
                check_options(translate_conf(tree, tmp_path / "pretrained.yaml").tree, SedOptions)
            except DesedTaskError as error:
                assert "\n" not in str(error), (section, key)
