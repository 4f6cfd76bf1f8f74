"""Confs of 2022-2024 are read as published for their year; what cannot be is refused by key."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from published_shapes import published_tree, write_conf

from desed_task.errors import DesedTaskError, OptionsError
from desed_task.experiment import SedOptions
from desed_task.labels import DESED_LABELS
from desed_task.options import check_options, read_options
from desed_task.published.conf import is_published_conf, translate_conf
from desed_task.runs.conf import read_conf
from desed_task.system import build_model


def test_the_2022_conf_is_the_compat_conf(tmp_path: Path, project: Path) -> None:
    """Key by key: what the key map says of 2022 is what confs/sed/compat_2022.yaml says."""
    theirs = read_conf(write_conf(published_tree(2022), tmp_path / "recipes" / "baseline"))
    ours = read_options(project / "confs" / "sed" / "compat_2022.yaml", SedOptions)
    root = str(tmp_path / "data" / "dcase")
    assert str(theirs.data.store) == f"{root}/store"
    text = theirs.model_dump_json().replace(root, "")
    assert text == ours.model_dump_json().replace(f"{project}/confs/corpora/../../data/dcase", "")


def test_2023_keeps_its_synthetic_set_below_a_root_of_its_own(tmp_path: Path) -> None:
    data = read_conf(write_conf(published_tree(2023), tmp_path / "recipes" / "baseline")).data
    root = tmp_path / "data" / "dcase" / "dataset"
    assert [source.corpus.root for source in data.train] == [root / "dcase_synth", root, root]  # type: ignore[union-attr]
    assert [source.corpus.root for source in data.validation] == [root / "dcase_synth", root]  # type: ignore[union-attr]
    assert data.test.corpus.root == root  # type: ignore[union-attr]


def test_2024_has_its_scaler_schedule_and_windows_per_class(tmp_path: Path) -> None:
    options = read_conf(write_conf(published_tree(2024), tmp_path))
    assert options.features.scaler_range == (-1.0, 1.0)
    training = options.training
    assert (training.n_epochs, training.decay_from_epoch, training.min_learning_rate) == (300, 100, 1e-8)
    assert (training.gradient_clip, training.validation_interval) == (5.0, 10)
    windows = options.postprocessing.median_filter_seconds
    assert isinstance(windows, dict)
    assert list(windows) == list(DESED_LABELS)
    # 3 and 11 frames of 64 ms
    assert windows["Alarm_bell_ringing"] == pytest.approx(0.192)
    assert windows["Speech"] == pytest.approx(0.704)


def test_rnn_layers_says_nothing_and_n_layers_rnn_does(tmp_path: Path) -> None:
    layers = [{"rnn_layers": 1}, {"rnn_layers": 5}, {"rnn_layers": 5, "n_layers_RNN": 1}]
    read = [read_conf(write_conf(published_tree(2022, **net), tmp_path)).model.rnn_layers for net in layers]
    assert read == [2, 2, 1]
    model = build_model(read_conf(write_conf(published_tree(2022, rnn_layers=1), tmp_path)))
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_112_420


@pytest.mark.parametrize("year", [2022, 2023, 2024])
def test_one_line_lists_the_keys_that_never_had_an_effect_and_one_those_that_have_none_here(
    year: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree = published_tree(year)
    tree["training"]["my_own_idea"] = 3
    with caplog.at_level(logging.INFO):
        read_conf(write_conf(tree, tmp_path))
    never = [line for line in caplog.messages if "never had an effect" in line]
    idle = [line for line in caplog.messages if "have no effect here" in line]
    assert len(never) == len(idle) == 1
    assert any(f"as a published conf of {year}" in line for line in caplog.messages)
    for key in ("net.rnn_layers", "feats.n_filters", "scaler.savepath", "training.my_own_idea (no published"):
        assert key in never[0]
    for key in ("training.num_workers (", "training.backend (", "data.*_44k ("):
        assert key in idle[0]


@pytest.mark.parametrize(
    ("section", "key", "value", "reads", "expected"),
    [
        ("training", "obj_metric_synth_type", "event", "training.selection_metric", "collar_f1"),
        ("training", "obj_metric_synth_type", "psds", "training.selection_metric", "psds1"),
        ("training", "obj_metric_synth_type", None, "training.selection_metric", "intersection_f1"),
        ("training", "self_sup_loss", "bce", "training.mean_teacher.consistency_loss", "bce"),
        ("training", "const_max", 3, "training.mean_teacher.consistency_weight", 3.0),
        ("training", "ema_factor", 0.99, "training.mean_teacher.ema_decay", 0.99),
        ("training", "mixup", "hard", "augmentations.0.labels", "hard"),
        ("training", "median_window", 5, "postprocessing.median_filter_seconds", 0.32),
        ("training", "precision", 16, "training.precision", "16-mixed"),
        ("training", "n_epochs_warmup", 20, "training.n_epochs_warmup", 20),
        ("opt", "lr", 0.002, "training.learning_rate", 0.002),
        ("feats", "n_mels", 64, "features.n_mels", 64),
        ("net", "activation", "CG", "model.activation", "cg"),
        ("net", "n_RNN_cell", 64, "model.n_rnn_cell", 64),
        ("data", "audio_max_len", 5, "data.clip_seconds", 5.0),
    ],
)
def test_each_key_reaches_its_option(
    section: str, key: str, value: Any, reads: str, expected: Any, tmp_path: Path
) -> None:
    tree = published_tree(2022)
    if section == "feats":
        tree["net"]["pooling"][-1] = [1, 1]
    tree[section][key] = value
    found: Any = read_conf(write_conf(tree, tmp_path))
    for part in reads.split("."):
        found = found[int(part)] if part.isdecimal() else getattr(found, part)
    assert found == expected


def test_without_a_selection_metric_2023_selects_by_psds_and_without_mixup_nothing_is_mixed(tmp_path: Path) -> None:
    tree = published_tree(2023)
    del tree["training"]["obj_metric_synth_type"], tree["training"]["mixup"]
    options = read_conf(write_conf(tree, tmp_path))
    assert options.training.selection_metric == "psds1"
    assert options.augmentations == ()


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("net", "use_embeddings", True, r"net\.use_embeddings and pretrained: embeddings of another model"),
        ("net", "specaugm_t_p", 0.2, r"net\.specaugm_t_p: 0\.2"),
        ("net", "dropstep_recurrent", 0.3, r"net\.dropstep_recurrent: 0\.3"),
        ("net", "nclass", 33, r"net\.nclass: 33 \(known are 10"),
        ("net", "stride", [2] * 7, r"net\.stride"),
        ("net", "kernel_size", [3, 5, 3, 3, 3, 3, 3], r"net\.kernel_size: .*only equal kernels"),
        ("net", "normalization", "layer", r"net\.normalization: layer"),
        ("net", "rnn_type", "LSTM", r"net\.rnn_type: LSTM"),
        ("net", "freeze_bn", True, r"net\.freeze_bn"),
        ("net", "pooling", "two", r"net\.pooling: two is not a list"),
        ("scaler", "statistic", "dataset", r"scaler\.statistic: dataset"),
        ("scaler", "normtype", "standard", r"scaler\.normtype: standard"),
        ("training", "batch_size", [12, 6, 6, 12, 24], r"training\.batch_size: .* MAESTRO is not"),
        ("training", "mixup", "medium", r"training\.mixup: medium \(soft, hard"),
        ("training", "median_window", 6, r"training\.median_window: \[6\] \(only odd"),
        ("training", "weak_split", 0.8, r"training\.weak_split: 0\.8"),
        ("training", "n_test_thresholds", 500, r"training\.n_test_thresholds: 500"),
        ("training", "obj_metric_synth_type", "auc", r"training\.obj_metric_synth_type: auc \(intersection"),
        ("training", "ema_factor", 1.5, r"training\.mean_teacher\.ema_decay: .* less than 1"),
        ("data", "fs", 44100, r"data\.fs: 44100 \(unlike feats\.sample_rate\)"),
        ("data", "net_subsample", 2, r"data\.net_subsample: 2 \(unlike the time pooling"),
        (
            "data",
            "test_tsv",
            "mine/test.tsv",
            r"data\.test_tsv: mine/test\.tsv \(published at ROOT/metadata/validation/",
        ),
        ("data", "weak_folder", "elsewhere/audio/train/weak_16k", r"data\.weak_folder: elsewhere.* one ROOT"),
        ("data", "real_maestro_train_folder", "x", r"data\.real_maestro_\*"),
    ],
)
def test_what_would_change_the_result_is_refused_by_its_key(
    section: str, key: str, value: Any, message: str, tmp_path: Path
) -> None:
    tree = published_tree(2022)
    tree[section][key] = value
    if key == "weak_folder":
        tree[section]["weak_folder_44k"] = "elsewhere/audio/train/weak"
    conf = write_conf(tree, tmp_path)
    with pytest.raises(OptionsError, match=message) as refused:
        read_conf(conf)
    assert str(conf) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("section", "key"), [("opt", "lr"), ("feats", "n_mels"), ("net", "pooling")])
def test_a_missing_key_is_named(section: str, key: str, tmp_path: Path) -> None:
    tree = published_tree(2022)
    del tree[section][key]
    with pytest.raises(OptionsError, match=rf"{section}\.{key}: missing"):
        read_conf(write_conf(tree, tmp_path))


def test_every_reason_stands_in_the_one_sentence(tmp_path: Path) -> None:
    tree = published_tree(2024, use_embeddings=True, specaugm_f_p=0.2)
    tree["pretrained"] = {"model": "ssast", "e2e": False}
    tree["training"]["batch_size"] = [12, 6, 6, 12, 24]
    with pytest.raises(OptionsError) as refused:
        translate_conf(tree, tmp_path / "pretrained.yaml")
    for reason in ("embeddings of ssast", "net.specaugm_f_p: 0.2", "training.batch_size: [12, 6, 6, 12, 24]"):
        assert reason in str(refused.value)


def test_overrides_are_given_in_our_words(tmp_path: Path) -> None:
    conf = write_conf(published_tree(2023), tmp_path)
    options = read_conf(conf, ["features.scaler_range=[-1.0,1.0]", "training.n_epochs=60"])
    assert options.features.scaler_range == (-1.0, 1.0)
    assert options.training.n_epochs == 60
    with pytest.raises(OptionsError, match="did you mean 'n_epochs'"):
        read_conf(conf, ["training.n_epoch=60"])


def test_paths_that_are_below_the_current_folder_are_taken_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "dcase" / "dataset").mkdir(parents=True)
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    options = read_conf(write_conf(published_tree(2022), tmp_path / "far" / "away" / "from" / "it"))
    assert Path(options.data.test.corpus.root).resolve() == tmp_path / "data" / "dcase" / "dataset"  # type: ignore[union-attr]


def test_a_key_that_stands_twice_is_read_as_published(tmp_path: Path) -> None:
    """The 2023 default.yaml has `precision` twice."""
    conf = write_conf(published_tree(2023), tmp_path)
    conf.write_text(conf.read_text().replace("  precision: 32\n", "  precision: 16\n  precision: 32\n"))
    assert conf.read_text().count("precision") == 2
    assert read_conf(conf).training.precision == "32-true"


def test_confs_of_ours_are_read_by_their_own_reader(project: Path, tmp_path: Path) -> None:
    for conf in sorted((project / "confs" / "sed").glob("*.yaml")):
        assert read_conf(conf) == read_options(conf, SedOptions)
    broken = tmp_path / "broken.yaml"
    broken.write_text("training: [")
    with pytest.raises(OptionsError, match="not valid YAML"):
        read_conf(broken)
    with pytest.raises(OptionsError, match="no such conf"):
        read_conf(tmp_path / "none.yaml")


@pytest.mark.parametrize("tree", [None, [], {}, {"training": {}, "model": {}}, {"net": {}, "training": 3, "feats": {}}])
def test_other_trees_are_not_taken_for_published_ones(tree: Any) -> None:
    assert not is_published_conf(tree)


@pytest.mark.parametrize("value", [None, "text", -1, 1.5, [], [None], [[1, 2], 3], {"a": 1}, True], ids=repr)
def test_no_value_of_any_key_is_met_with_more_than_one_sentence(value: Any, tmp_path: Path) -> None:
    sections = published_tree(2024)
    for section, keys in sections.items():
        for key in keys:
            tree = published_tree(2024)
            tree[section][key] = value
            try:
                check_options(translate_conf(tree, tmp_path / "default.yaml").tree, SedOptions)
            except DesedTaskError as error:
                assert "\n" not in str(error), (section, key)
