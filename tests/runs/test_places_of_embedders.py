"""Beside a checkpoint one may say where an embedder's files are now, and nothing that would make it another system."""

from __future__ import annotations

from pathlib import Path

import pytest
from fused_systems import CNN14, fused_options, write_weights

from desed_task.errors import OptionsError
from desed_task.experiment import SedOptions, build_system
from desed_task.options import write_options
from desed_task.runs.testing import with_data_of


def options(folder: Path, mode: str = "stored", store: str = "there") -> SedOptions:
    weights = str(write_weights(folder / "w.pth", CNN14)) if mode == "learning" else "far/away.pth"
    embedder = {**CNN14, "mode": mode, "store": store, "weights": weights}
    return fused_options({"e": embedder}, {"e": "aligned"})


def placed(own: SedOptions, *overrides: str, conf: Path | None = None) -> SedOptions:
    return with_data_of(build_system(own, {}), "test", conf, overrides).options


def test_store_weights_and_whether_it_is_heard_may_change(tmp_path: Path) -> None:
    own = options(tmp_path)
    new = placed(own, "embedders.e.store=here", "embedders.e.weights=w.pth", "embedders.e.mode=frozen")
    changed = {"store": Path("here"), "weights": Path("w.pth"), "mode": "frozen"}
    assert new.embedders["e"] == own.embedders["e"].model_copy(update=changed)
    assert new.model_copy(update={"embedders": {}}) == own.model_copy(update={"embedders": {}})


def test_a_conf_beside_names_the_store_of_its_data_and_the_flag_has_the_last_word(tmp_path: Path) -> None:
    own = options(tmp_path)
    write_options(options(tmp_path, store="of/the/conf"), tmp_path / "conf.yaml")
    beside = placed(own, conf=tmp_path / "conf.yaml").embedders["e"]
    assert (beside.store, beside.weights) == (Path("of/the/conf"), Path("far/away.pth"))  # type: ignore[union-attr]
    flagged = placed(own, "embedders.e.store=of/the/flag", conf=tmp_path / "conf.yaml").embedders["e"]
    assert flagged.store == Path("of/the/flag")


@pytest.mark.parametrize("override", ["output=segments", "mode=learning", "model.width=0.1", "learning_rate=1"])
def test_what_would_make_it_another_system_is_refused(override: str, tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=r"only data\.test can be replaced, and of an embedder its store, weights"):
        placed(options(tmp_path), f"embedders.e.{override}")


def test_an_embedder_that_learned_stays_a_part_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=r"embedders\.e\.mode: it learned with the detector"):
        placed(options(tmp_path, mode="learning"), "embedders.e.mode=frozen")
