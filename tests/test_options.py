"""Options: a conf is read whole, and each fault is one sentence with file, key, value and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, model_validator

from desed_task.errors import OptionsError
from desed_task.labels import LabelSet
from desed_task.options import Options, check_options, override_options, read_options, write_options


class Median(Options):
    name: Literal["median"] = "median"
    length_seconds: float = Field(0.448, gt=0)
    median: int = 1  # a key that is called as its variant


class Threshold(Options):
    name: Literal["threshold"] = "threshold"
    value: float = 0.5


Step = Annotated[Median | Threshold, Field(discriminator="name")]


class Training(Options):
    num_epochs: int = 10
    learning_rate: float = 1e-3
    batch_size: tuple[int, ...] = (12, 12, 24)
    mixup: bool = True
    warmup: int | float | None = None


class Conf(Options):
    labels: tuple[str, ...] = ("Cat", "Dog")
    folder: Path = Path("exp")
    training: Training = Training()
    smoothing: Step = Median()
    steps: tuple[Step, ...] = ()
    class_weights: dict[str, float] = {}

    @model_validator(mode="after")
    def _ramp_ends_before_training_does(self) -> Conf:
        LabelSet(self.labels)
        if self.training.warmup is not None and self.training.warmup > self.training.num_epochs:
            raise ValueError("training.warmup is longer than training.num_epochs; shorten it")
        return self


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return tmp_path / "conf.yaml"


def fault_of(path: Path, text: str, *overrides: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(OptionsError) as refused:
        read_options(path, Conf, overrides)
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence.replace(str(path.parent), "")


def read(path: Path, text: str, *overrides: str) -> Conf:
    path.write_text(text, encoding="utf-8")
    return read_options(path, Conf, overrides)


# Reading and inheriting.


def test_what_a_conf_does_not_say_has_its_default(conf: Path) -> None:
    options = read(conf, "training: {num_epochs: 3}")
    assert (options.training.num_epochs, options.training.batch_size) == (3, (12, 12, 24))


def test_options_are_frozen(conf: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        read(conf, "labels: [Cat]").labels = ("Dog",)


def test_a_conf_inherits_from_its_base_and_mappings_are_merged_lists_replaced(conf: Path) -> None:
    (conf.parent / "bases").mkdir()
    (conf.parent / "bases" / "root.yaml").write_text("labels: [Bird, Cow]\ntraining: {num_epochs: 1, mixup: false}")
    (conf.parent / "bases" / "mid.yaml").write_text("base: root.yaml\ntraining: {num_epochs: 2, batch_size: [1, 2, 3]}")
    options = read(conf, "base: bases/mid.yaml\ntraining: {batch_size: [4]}")
    assert options.labels == ("Bird", "Cow")
    assert options.training == Training(num_epochs=2, mixup=False, batch_size=(4,))


def test_a_section_that_names_another_variant_starts_afresh(conf: Path) -> None:
    (conf.parent / "base.yaml").write_text("smoothing: {name: median, length_seconds: 1.0}")
    assert read(conf, "base: base.yaml\nsmoothing: {name: threshold}").smoothing == Threshold()
    assert read(conf, "base: base.yaml\nsmoothing: {name: median}").smoothing == Median(length_seconds=1.0)


def test_here_is_the_folder_of_the_file_it_stands_in(conf: Path) -> None:
    folder = conf.parent / "odd: 'folder' #1"
    folder.mkdir()
    (folder / "base.yaml").write_text("folder: ${here}/data", encoding="utf-8")
    conf.write_text(f'base: "{folder.name}/base.yaml"', encoding="utf-8")
    assert read_options(conf, Conf).folder == folder.resolve() / "data"


def test_without_a_conf_the_overrides_are_checked_beside_the_defaults() -> None:
    assert read_options(None, Conf, ["training.mixup=false"]).training.mixup is False
    with pytest.raises(OptionsError, match=r"--set: training.epochs: unknown key"):
        read_options(None, Conf, ["training.epochs=1"])


@pytest.mark.parametrize(
    ("word", "rate"), [("1e-3", 1e-3), ("1.5e+2", 150.0), ("2E1", 20.0), (".5", 0.5), ("-1", -1.0), ("1_000.5", 1000.5)]
)
def test_numbers_are_read_as_people_write_them(word: str, rate: float, conf: Path) -> None:
    assert read(conf, f"training: {{learning_rate: {word}}}").training.learning_rate == rate


def test_plain_words_stay_text_unless_they_are_true_false_or_null(conf: Path) -> None:
    words = "[no, yes, on, off, y, 1:30, 010, 2024-01-01]"
    assert read(conf, f"labels: {words}").labels == tuple(words.strip("[]").split(", "))
    assert read(conf, "training: {warmup: null, mixup: true}").training.warmup is None


def test_yaml_merge_keys_and_aliases_may_be_used(conf: Path) -> None:
    options = read(conf, "training: &t {num_epochs: 3}\nclass_weights: {<<: {Cat: 2.0}, Dog: 1.0}")
    assert (options.class_weights, options.training.num_epochs) == ({"Cat": 2.0, "Dog": 1.0}, 3)


# --set


def test_set_replaces_keys_lists_items_of_lists_and_sections(conf: Path) -> None:
    options = read(
        conf,
        "steps: [{name: median}, {name: threshold}]\ntraining:",
        "training.num_epochs=5",
        "training.batch_size=[1, 2]",
        "training.batch_size.1=7",
        "steps.0.length_seconds=2",
        "class_weights={Cat: 1.5}",
        "labels=[Cow]",
    )
    assert options.training == Training(num_epochs=5, batch_size=(1, 7))
    assert options.steps == (Median(length_seconds=2.0), Threshold())
    assert (options.class_weights, options.labels) == ({"Cat": 1.5}, ("Cow",))


def test_set_changes_one_place_even_where_an_alias_shares_it(conf: Path) -> None:
    options = read(conf, "steps: [&m {name: median, median: 3}, *m]", "steps.0.median=5")
    assert options.steps == (Median(median=5), Median(median=3))


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("training.num_epochs", "--set training.num_epochs: write it as a.b=value"),
        ("=3", "--set =3: write it as a.b=value"),
        ("training..x=3", "--set training..x=3: write it as a.b=value"),
        ("labels.7=Cow", "--set labels.7=Cow: '7' is not a position in a list of 2 (from 0)"),
        ("labels.first=Cow", "--set labels.first=Cow: 'first' is not a position in a list of 2 (from 0)"),
        ("labels.0.x=Cow", "--set labels.0.x=Cow: labels.0 is a value, not a section"),
        ("folder.x.y=1", "--set folder.x.y=1: folder is a value, not a section"),
        ("labels=[Cat", "--set labels=[Cat: not valid YAML"),
        ("training.num_epochs=ten", "--set: training.num_epochs: input should be a valid integer, got 'ten'"),
        ("training={num_epoch: 3}", "--set: training.num_epoch: unknown key (value 3); did you mean 'num_epochs'?"),
    ],
)
def test_what_set_cannot_do_is_said_with_the_flag(override: str, fault: str, conf: Path) -> None:
    assert fault_of(conf, "labels: [Cat, Dog]\nfolder: exp\ntraining: {num_epochs: 3}", override).startswith(fault)


# Faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "training: {num_epoch: 3}",
            "/conf.yaml: training.num_epoch: unknown key (value 3); did you mean 'num_epochs'?",
        ),
        # a key of another section is no suggestion for this one
        (
            "num_epochs: 3",
            "/conf.yaml: num_epochs: unknown key (value 3); remove it (known here: class_weights, folder, ",
        ),
        ('training: {num_epochs: "12"}', "/conf.yaml: training.num_epochs: input should be a valid integer, got '12'"),
        ("training: {num_epochs: true}", "/conf.yaml: training.num_epochs: input should be a valid integer, got True"),
        ("training: {num_epochs: 1.5}", "/conf.yaml: training.num_epochs: input should be a valid integer, got 1.5"),
        ("training: {mixup: 1}", "/conf.yaml: training.mixup: input should be a valid boolean, got 1"),
        ("training: {mixup: yes}", "/conf.yaml: training.mixup: input should be a valid boolean, got 'yes'"),
        ("training: {warmup: soon}", "/conf.yaml: training.warmup: input should be a valid integer, got 'soon'"),
        (
            "training: {batch_size: [1, x]}",
            "/conf.yaml: training.batch_size.1: input should be a valid integer, got 'x'",
        ),
        (
            "training: {learning_rate: .nan}",
            "/conf.yaml: training.learning_rate: input should be a finite number, got nan",
        ),
        ("training: 3", "/conf.yaml: training: input should be an object, got 3"),
        ("class_weights: {Cat: x}", "/conf.yaml: class_weights.Cat: input should be a valid number, got 'x'"),
        (
            "training: {warmup: 11}",
            "/conf.yaml: the conf: training.warmup is longer than training.num_epochs; shorten it",
        ),
        ("labels: [Cat, Cat]", "/conf.yaml: class 'Cat' stands twice in the label set"),
    ],
)
def test_a_wrong_key_or_value_is_named(text: str, fault: str, conf: Path) -> None:
    assert fault_of(conf, text).startswith(fault)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "smoothing: {name: median, length: 1}",
            "smoothing.length: unknown key (value 1); did you mean 'length_seconds'?",
        ),
        ("smoothing: {name: median, value: 1}", "smoothing.value: unknown key (value 1); remove it"),
        ("smoothing: {name: median, length_second: 1}", "smoothing.length_second: unknown key (value 1); did you mean"),
        (
            "smoothing: {name: median, length_seconds: 0}",
            "smoothing.length_seconds: input should be greater than 0, got 0",
        ),
        ("smoothing: {name: median, median: x}", "smoothing.median: input should be a valid integer, got 'x'"),
        ("smoothing: {name: mean}", "smoothing.name: 'mean' is none of 'median', 'threshold'"),
        ("smoothing: {value: 0.5}", "smoothing.name: missing; add it"),
        (
            "steps: [{name: median}, {name: threshold, value: x}]",
            "steps.1.value: input should be a valid number, got 'x'",
        ),
        ("steps: [{name: median, valu: 1}]", "steps.0.valu: unknown key (value 1); remove it"),
    ],
)
def test_the_key_in_a_section_chosen_by_name_is_written_as_in_the_conf(text: str, fault: str, conf: Path) -> None:
    assert fault_of(conf, text).startswith(f"/conf.yaml: {fault}")


def test_a_missing_key_is_named(conf: Path) -> None:
    class Strict(Options):
        training: Training
        root: Path

    conf.write_text("training: {num_epochs: 3}")
    with pytest.raises(OptionsError, match=r"conf.yaml: root: missing; add it"):
        read_options(conf, Strict)


def test_a_fault_is_placed_in_the_file_that_has_it(conf: Path) -> None:
    (conf.parent / "base.yaml").write_text("training: {num_epochs: x, mixup: true}")
    assert fault_of(conf, "base: base.yaml\ntraining: {mixup: false}").startswith("/base.yaml: training.num_epochs")
    assert fault_of(conf, "base: base.yaml\ntraining: {num_epochs: y}").startswith("/conf.yaml: training.num_epochs")
    assert fault_of(conf, "base: base.yaml", "training.num_epochs=z").startswith("--set: training.num_epochs")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "/conf.yaml: the conf is empty"),
        ("# only a comment\n", "/conf.yaml: the conf is empty"),
        ("- a\n- b\n", "/conf.yaml: a conf is a mapping of keys to values, this is a list"),
        ("labels: [a\n", "/conf.yaml: not valid YAML: "),
        ("labels: a\x00b\n", "/conf.yaml: not valid YAML: "),
        ("labels: [a]\n---\nlabels: [b]\n", "/conf.yaml: not valid YAML: "),
        ("labels: [a]\nlabels: [b]\n", "/conf.yaml: key 'labels' stands twice (line 2); remove one"),
        ("training:\n  mixup: true\n  mixup: true\n", "/conf.yaml: key 'mixup' stands twice (line 3); remove one"),
        ("class_weights: {1: 2.0}\n", "/conf.yaml: key 1 (line 1) is not text; write it in quotes"),
        ("? [a, b]\n: 1\n", "/conf.yaml: key ['a', 'b'] (line 1) is not text; write it in quotes"),
        ("labels: &loop [*loop]\n", "/conf.yaml: cannot be read as YAML"),
        ("labels: !!binary aGVsbG8=\n", "/conf.yaml: Object of type bytes is not JSON serializable; write text"),
        ("labels: !!python/name:os.system\n", "/conf.yaml: not valid YAML: could not determine a constructor"),
        ("base: 3\n", "/conf.yaml: base: 3 is not a file name"),
        ("base: nowhere.yaml\n", "/nowhere.yaml: no such conf"),
        ("base: conf.yaml\n", "/conf.yaml: `base` leads back to itself (conf.yaml -> conf.yaml); remove one `base`"),
    ],
)
def test_a_file_that_is_no_conf_is_refused(text: str, fault: str, conf: Path) -> None:
    assert fault_of(conf, text).startswith(fault)


def test_of_several_bases_each_goes_over_those_before_it(conf: Path) -> None:
    (conf.parent / "a.yaml").write_text("labels: [Bird]\ntraining: {num_epochs: 1, mixup: false}")
    (conf.parent / "b.yaml").write_text("training: {num_epochs: 2}")
    options = read(conf, "base: [a.yaml, b.yaml]\nlabels: [Cow]")
    assert (options.labels, options.training.num_epochs, options.training.mixup) == (("Cow",), 2, False)
    assert fault_of(conf, "base: [a.yaml, 3]") == "/conf.yaml: base: 3 is not a file name"


def test_a_mapping_from_positions_reaches_into_a_list_of_the_base(conf: Path) -> None:
    (conf.parent / "base.yaml").write_text("labels: [Bird, Cow]\ntraining: {num_epochs: 1, batch_size: [1, 2, 3]}")
    (conf.parent / "part.yaml").write_text('training: {batch_size: {"1": 20}}')
    options = read(conf, 'base: [base.yaml, part.yaml]\ntraining: {batch_size: {"2": 30}}')
    assert options.training.batch_size == (1, 20, 30)


def test_a_position_beyond_the_list_of_the_base_is_refused(conf: Path) -> None:
    (conf.parent / "base.yaml").write_text("training: {batch_size: [1, 2, 3]}")
    fault = fault_of(conf, 'base: base.yaml\ntraining: {batch_size: {"3": 4}}')
    assert fault == "/conf.yaml: training.batch_size: '3' is not a position in a list of 3 (from 0)"


def test_a_fault_in_a_section_of_a_list_is_that_of_the_conf_that_wrote_it(conf: Path) -> None:
    (conf.parent / "base.yaml").write_text("labels: [Bird]\ntraining: {num_epochs: 1, batch_size: [1, 2, 3]}")
    fault = fault_of(conf, 'base: base.yaml\ntraining: {batch_size: {"1": x}}')
    assert fault.startswith("/conf.yaml: training.batch_size.1: ")


def test_bases_that_lead_round_in_a_circle_are_refused(conf: Path) -> None:
    (conf.parent / "other.yaml").write_text("base: conf.yaml")
    assert "(conf.yaml -> other.yaml -> conf.yaml)" in fault_of(conf, "base: other.yaml")


def test_files_that_are_no_text_or_not_there_are_refused(conf: Path) -> None:
    with pytest.raises(OptionsError, match="no such conf"):
        read_options(conf, Conf)
    with pytest.raises(OptionsError, match="cannot be read"):
        read_options(conf.parent, Conf)
    conf.write_bytes("labels: [Gerät]".encode("latin-1"))
    with pytest.raises(OptionsError, match=r"not UTF-8 text \(byte 12\); save it as UTF-8"):
        read_options(conf, Conf)


# Writing


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12)
TRAPS = st.sampled_from(
    ["no", "1e5", "010", "1:30", "2024-01-01", "null", "~", "true", "=", "<<", "1_0", ".inf", "0x1F"]
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(TEXT | TRAPS, st.floats(allow_nan=False, allow_infinity=False), max_size=4), TEXT | TRAPS)
def test_what_is_written_is_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, weights: dict[str, float], folder: str
) -> None:
    path = tmp_path_factory.mktemp("written") / "conf.yaml"
    options = Conf(class_weights=weights, folder=Path(folder), steps=(Threshold(value=1e-9), Median()))
    write_options(options, path)
    assert read_options(path, Conf) == options
    assert [file.name for file in path.parent.iterdir()] == ["conf.yaml"]


def test_stored_options_can_be_overridden_and_are_checked_again() -> None:
    changed = override_options(Conf(smoothing=Threshold(value=0.3)), ["smoothing.value=0.4", "training.num_epochs=2"])
    assert (changed.smoothing, changed.training.num_epochs) == (Threshold(value=0.4), 2)
    with pytest.raises(OptionsError, match=r"--set: training.epochs: unknown key"):
        override_options(Conf(), ["training.epochs=2"])


def test_a_plain_tree_is_checked_under_the_name_it_is_given() -> None:
    with pytest.raises(OptionsError, match=r"bundle.json: smoothing.value: unknown key"):
        check_options({"smoothing": {"name": "median", "value": 1}}, Conf, default_origin="bundle.json")
