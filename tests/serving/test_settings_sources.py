"""Flags over environment over conf over defaults, and a sentence that names the place for what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from desed_task.errors import OptionsError
from desed_task.options import Options
from serving.settings import ServingOptions
from serving.settings_sources import read_settings, variables


class Device(Options):
    """A section."""

    row_ms: float = Field(0.25, gt=0, description="milliseconds per row")


class Settings(Options):
    """Every kind of field that a setting may have."""

    name: str = Field("none", description="a name")
    port: int = Field(8000, ge=0, le=65535, description="a port")
    folder: Path | None = Field(None, description="a folder")
    origins: tuple[str, ...] = Field((), description="a list")
    models: dict[str, Path] = Field({}, description="a mapping")
    device: Device | None = Field(None, description="a section")


def read(
    environment: dict[str, str] | None = None,
    conf_file: Path | None = None,
    port: int | None = None,
    typed: tuple[str, ...] = (),
) -> Settings:
    named = {f"DESED_TASK_SERVING_{name}": value for name, value in (environment or {}).items()}
    return read_settings(Settings, conf_file, {"port": port}, typed, {"PATH": "/bin", **named})


def fault(environment: dict[str, str]) -> str:
    with pytest.raises(OptionsError) as refusal:
        read(environment)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "serving.yaml"
    path.write_text("port: 1\nname: conf\nmodels: {dogs: a, cats: b}\n", encoding="utf-8")
    return path


def test_flags_go_over_the_environment_over_the_conf_over_the_defaults(conf: Path) -> None:
    assert read().port == 8000
    assert read(conf_file=conf).port == 1
    assert read({"PORT": "2"}, conf).port == 2
    assert read({"PORT": "2"}, conf, port=3).port == 3
    assert read({"PORT": "2"}, conf, port=3, typed=("port=4",)).port == 4
    assert read({"PORT": "2"}, conf).name == "conf"


def test_the_conf_may_be_named_by_the_environment_and_a_flag_goes_over_it(conf: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("port: 9\n", encoding="utf-8")
    assert read({"CONF_FILE": str(conf)}).port == 1
    assert read({"CONF_FILE": str(conf)}, other).port == 9


def test_lists_mappings_and_sections_are_yaml_or_json() -> None:
    assert read({"ORIGINS": "[a, b]"}).origins == ("a", "b")
    assert read({"ORIGINS": '["a"]'}).origins == ("a",)
    assert read({"MODELS": '{"Dogs": "bundles/dogs"}'}).models == {"Dogs": Path("bundles/dogs")}
    assert read({"DEVICE": "{row_ms: 3}"}).device == Device(row_ms=3)


def test_two_underscores_lead_into_a_section_a_mapping_and_a_list(conf: Path) -> None:
    assert read({"DEVICE__ROW_MS": "0.5"}).device == Device(row_ms=0.5)
    assert read({"DEVICE__ROW_MS": "0.5", "DEVICE": "{row_ms: 3}"}).device == Device(row_ms=0.5)
    assert read({"MODELS__dogs": "z"}, conf).models == {"dogs": Path("z"), "cats": Path("b")}
    assert read({"ORIGINS": "[a, b]", "ORIGINS__1": "c"}).origins == ("a", "c")


def test_text_is_taken_as_it_stands() -> None:
    assert read({"NAME": "1234"}).name == "1234"
    assert read({"NAME": "[a: b"}).name == "[a: b"
    assert read({"FOLDER": "007"}).folder == Path("007")
    assert read({"FOLDER": "null"}).folder is None


def test_an_empty_variable_counts_as_not_given(conf: Path) -> None:
    assert read({"PORT": "", "NAME": "", "CONF_FILE": ""}) == Settings()
    assert read({"PORT": ""}, conf).port == 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PROT": "1"}, "DESED_TASK_SERVING_PROT: no setting has this name in the environment; did you mean "),
        ({"PROT": "1"}, "did you mean DESED_TASK_SERVING_PORT?"),
        ({"DEVICE__ROWS_MS": "1"}, "did you mean DESED_TASK_SERVING_DEVICE__ROW_MS?"),
        ({"PORT__X": "1"}, "DESED_TASK_SERVING_PORT__X: no setting"),
        ({"PORT_8000_TCP_ADDR_OF_SOMETHING": "10.0.0.1"}, "rename it, or unset it"),
        ({"PORT": "tcp://10.0.0.1:80"}, "DESED_TASK_SERVING_PORT: port: input should be a valid integer"),
        ({"PORT": "70000"}, "DESED_TASK_SERVING_PORT: port: input should be less than or equal to 65535, got 70000"),
        ({"ORIGINS": "[a"}, "DESED_TASK_SERVING_ORIGINS: not valid YAML"),
        ({"DEVICE": "{rows: 3}"}, "DESED_TASK_SERVING_DEVICE: device.rows: unknown key"),
        ({"DEVICE__ROW_MS": "0"}, "DESED_TASK_SERVING_DEVICE__ROW_MS: device.row_ms"),
        ({"ORIGINS__1": "c"}, "DESED_TASK_SERVING_ORIGINS__1: "),
        ({"CONF_FILE": "nowhere.yaml"}, "nowhere.yaml: no such conf"),
    ],
)
def test_what_cannot_be_is_one_sentence_that_names_its_place(environment: dict[str, str], message: str) -> None:
    assert message in fault(environment)


def test_flags_and_typed_keys_are_named_too() -> None:
    with pytest.raises(OptionsError, match=r"^--port: port: input should be less than or equal to 65535, got 70000"):
        read(port=70000)
    with pytest.raises(OptionsError, match=r"^--set: port: "):
        read(typed=("port=x",))


def test_every_setting_of_the_service_has_a_name_in_the_environment() -> None:
    names = set(variables(ServingOptions))
    assert {"DESED_TASK_SERVING_BUNDLE", "DESED_TASK_SERVING_MAX_BATCH"} <= names
    assert len(names) >= len(ServingOptions.model_fields)
    assert not names & {"DESED_TASK_SERVING_CONF_FILE", "DESED_TASK_SERVING_PORT_FILE"}
