"""What every recipe shares: flags spelt either way, and exit codes, in processes of their own."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from desed_task.command_line import RecipeParser


@pytest.fixture
def parser() -> RecipeParser:
    parser = RecipeParser(prog="recipe")
    parser.add_argument("--conf_file")
    parser.add_argument("--log-dir")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument_group("more").add_argument("--fast_dev_run", action="store_true")
    parser.add_argument("--keep_scores", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("rest", nargs="*")
    return parser


@pytest.mark.parametrize("join", ["_", "-"])
def test_flags_may_be_spelt_either_way_in_groups_and_negations_too(join: str, parser: RecipeParser) -> None:
    flags = ["--conf-file", "c.yaml", "--log-dir=some-dir_1", "--fast-dev-run", "--no-keep-scores"]
    words = [word.partition("=") for word in flags]
    spelt = ["--" + f[2:].replace("-", join) + e + v if f.startswith("--") else f for f, e, v in words]
    found = parser.parse_args(spelt)
    assert (found.conf_file, found.log_dir, found.fast_dev_run) == ("c.yaml", "some-dir_1", True)
    assert found.keep_scores is False


def test_values_and_what_follows_two_dashes_are_left_as_they_are(parser: RecipeParser) -> None:
    found = parser.parse_args(["--set", "a.b_c=d-e", "--set=x_y=1", "--", "--conf-file", "a_b"])
    assert found.set == ["a.b_c=d-e", "x_y=1"]
    assert found.rest == ["--conf-file", "a_b"]


@pytest.mark.parametrize("words", [["--conf", "c.yaml"], ["--unknown"], ["--log-dir"]])
def test_flags_are_never_guessed(words: list[str], parser: RecipeParser, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parser.parse_args(words)
    assert left.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_the_help_shows_one_spelling(parser: RecipeParser) -> None:
    assert "--conf_file" in parser.format_help()
    assert "--conf-file" not in parser.format_help()


RECIPE = """
import sys
from pathlib import Path
from desed_task.command_line import run_recipe
from desed_task.errors import AudioError

def main(argv):
    {body}

run_recipe(main)
"""


def run(body: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RECIPE.format(body=body), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_recipe_that_ends_well_leaves_with_0_and_its_own_code_otherwise() -> None:
    assert run("print(argv)", "a", "-b").stdout == "['a', '-b']\n"
    assert run("return None").returncode == 0
    assert run("return 1").returncode == 1


def test_refused_input_is_one_sentence_and_code_2() -> None:
    ran = run("raise AudioError('a.wav: the file is empty (0 bytes)')")
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", "error: a.wav: the file is empty (0 bytes)\n")


def test_a_place_that_cannot_be_written_is_refused_input() -> None:
    ran = run("Path('/dev/null/exp').mkdir()")
    assert (ran.returncode, ran.stderr) == (2, "error: /dev/null/exp: Not a directory; name another place\n")


def test_a_place_that_is_not_there_is_refused_input() -> None:
    ran = run("Path('gone/exp').mkdir()")
    assert (ran.returncode, ran.stderr) == (2, "error: gone/exp: No such file or directory; name another place\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device that is always full is Linux's")
def test_a_full_disk_is_one_sentence() -> None:
    ran = run("Path('/dev/full').write_text('x')")
    assert (ran.returncode, ran.stderr) == (2, "error: No space left on device; make room\n")


def test_a_bug_keeps_its_traceback() -> None:
    ran = run("raise KeyError('x')")
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr


def test_an_interrupted_recipe_says_so() -> None:
    ran = run("raise KeyboardInterrupt")
    assert (ran.returncode, ran.stderr) == (130, "interrupted\n")


def test_a_reader_that_stops_reading_is_no_fault() -> None:
    command = [sys.executable, "-c", RECIPE.format(body="[print('x' * 1000) for _ in range(1000)]")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as recipe:
        assert recipe.stdout is not None
        assert recipe.stderr is not None
        recipe.stdout.readline()
        recipe.stdout.close()
        assert recipe.stderr.read() == b""
        assert recipe.wait() == 141
