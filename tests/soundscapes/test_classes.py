"""Which classes occur in a scene: by weight, few per scene, or by a table of co-occurrence."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from desed_task.errors import OptionsError
from desed_task.options import check_options
from desed_task.soundscapes.classes import drawn_classes, drawn_co_occurring
from desed_task.soundscapes.scene import SceneOptions

LABELS = ("Cat", "Dog", "Speech")
TABLE = {
    "Dog": {"proba": 3.0, "classes": ["Speech", "Dog"], "probas": [80, 20], "count_probas": [0.5, 0.0, 0.5]},
    "Speech": {"proba": 1.0},
}


def options_of(**keys: object) -> SceneOptions:
    return check_options({"labels": list(LABELS), **keys}, SceneOptions)


def test_the_table_draws_first_class_count_and_further_classes() -> None:
    table = options_of(co_occurrence=TABLE).co_occurrence
    assert table is not None
    scenes = [list(drawn_co_occurring(np.random.default_rng(seed), table)) for seed in range(800)]
    first = Counter(scene[0] for scene in scenes)
    assert set(first) == {"Dog", "Speech"}
    assert 2.5 < first["Dog"] / first["Speech"] < 3.6
    assert {len(scene) for scene in scenes if scene[0] == "Speech"} == {1}
    lengths = Counter(len(scene) for scene in scenes if scene[0] == "Dog")
    assert set(lengths) == {1, 3}
    assert 0.8 < lengths[1] / lengths[3] < 1.25
    further = Counter(label for scene in scenes for label in scene[1:])
    assert 3.2 < further["Speech"] / further["Dog"] < 5.0


def test_up_to_max_events_all_counts_are_equally_likely() -> None:
    table = options_of(co_occurrence={"Cat": {"classes": ["Dog"], "probas": [1.0], "max_events": 2}}).co_occurrence
    assert table is not None
    counts = Counter(len(list(drawn_co_occurring(np.random.default_rng(seed), table))) for seed in range(600))
    assert set(counts) == {1, 2, 3}
    assert max(counts.values()) < 1.35 * min(counts.values())


def test_a_table_in_a_file_in_the_published_shape_is_read_and_kept(tmp_path: Path) -> None:
    published = {
        "Dog": {
            "proba": 0.1,
            "co-occurences": {"max_events": 14, "mean_events": 5, "classes": ["Dog", "Speech"], "probas": [0.6, 0.4]},
        }
    }
    (tmp_path / "table.json").write_text(json.dumps(published, indent=2))
    options = options_of(co_occurrence=str(tmp_path / "table.json"))
    assert options.co_occurrence is not None
    assert options.co_occurrence["Dog"].max_events == 14
    assert options.co_occurrence["Dog"].proba == 0.1
    # The resolved options hold the table itself, not the name of a file that may change.
    assert SceneOptions.model_validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize("classes_per_scene", [1, 2])
def test_a_scene_has_so_many_classes_and_no_more(classes_per_scene: int) -> None:
    drawn = [list(drawn_classes(np.random.default_rng(s), LABELS, {}, (12, 12), classes_per_scene)) for s in range(40)]
    assert max(len(set(scene)) for scene in drawn) == classes_per_scene
    assert {label for scene in drawn for label in scene} == set(LABELS)


def test_a_class_without_weight_is_never_chosen() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        assert "Cat" not in list(drawn_classes(rng, LABELS, {"Cat": 0.0}, (3, 3), classes_per_scene=3))


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"co_occurrence": {"Bird": {}}}, r"co_occurrence: class 'Bird' \(under 'Bird'\) is not in `labels`"),
        (
            {"co_occurrence": {"Dog": {"classes": ["Bird"], "probas": [1], "max_events": 1}}},
            r"class 'Bird' \(under 'Dog'\) is not in `labels`",
        ),
        (
            {"co_occurrence": {"Dog": {"classes": ["Cat"], "probas": [0.5, 0.5], "max_events": 1}}},
            r"1 classes and 2 pro",
        ),
        ({"co_occurrence": {"Dog": {"classes": ["Cat"], "probas": [-1], "max_events": 1}}}, r"must not be negative"),
        ({"co_occurrence": {"Dog": {"classes": ["Cat"], "probas": [1]}}}, r"give either max_events or count_probas"),
        ({"co_occurrence": {"Dog": {"max_events": 3}}}, r"further events need `classes` and `probas`"),
        ({"co_occurrence": {"Dog": {"proba": 0.0}}}, r"no class has a positive proba"),
        ({"co_occurrence": {}}, r"no class has a positive proba"),
        ({"co_occurrence": {"Dog": {"probs": [1]}}}, r"co_occurrence.Dog: probs: unknown key .*did you mean 'proba"),
        ({"co_occurrence": {"Dog": {}}, "class_weights": {"Cat": 2.0}}, r"remove class_weights and classes_per_scene"),
        ({"co_occurrence": {"Dog": 3}}, r"co_occurrence.Dog: the conf: input should be an object, got 3"),
        ({"co_occurrence": "nowhere.yaml"}, r"nowhere.yaml: no such conf"),
        ({"classes_per_scene": 0}, r"classes_per_scene: .*greater than or equal to 1"),
    ],
)
def test_tables_that_cannot_be_drawn_from_are_refused(keys: dict[str, object], sentence: str) -> None:
    with pytest.raises(OptionsError, match=sentence):
        options_of(**keys)
