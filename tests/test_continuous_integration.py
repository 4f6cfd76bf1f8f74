"""With CI set, a skip that hides a missing oracle or overlooks the real recordings is a failure.

The hooks of conftest.py run in a small project of their own, in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPING_TESTS = """
import pytest

def test_that_needs_an_oracle():
    pytest.importorskip("a_package_that_nobody_has")

def test_that_needs_an_oracle_for_a_reason():
    pytest.importorskip("a_package_that_nobody_has", reason="the exact scorer")

@pytest.mark.skipif(True, reason="../shared/data/esc10 is not there")
def test_that_looks_for_recordings_in_the_wrong_place():
    pass

@pytest.fixture
def recordings(shared_data):
    return shared_data

def test_that_needs_recordings(recordings):
    pass

@pytest.mark.skip(reason="needs a GPU")
def test_that_is_skipped_for_a_reason_of_its_own():
    pass

@pytest.mark.xfail(reason="shared with an open issue")
def test_that_is_expected_to_fail():
    assert False
"""
SKIPPING_FILE = """
import pytest
pytest.importorskip("a_package_that_nobody_has")
def test_never_collected(): pass
"""


@pytest.fixture
def small_project(tmp_path: Path, project: Path) -> Path:
    tests = tmp_path / "project" / "tests"
    tests.mkdir(parents=True)
    shutil.copy(project / "tests" / "conftest.py", tests)
    (tests / "test_small.py").write_text(SKIPPING_TESTS)
    return tmp_path / "project"


def outcomes(small_project: Path, **environment: str) -> dict[str, str]:
    """Name of each test that did not pass -> its outcome."""
    surroundings = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    command = [sys.executable, "-m", "pytest", "-v", "--tb=no", "-p", "no:cacheprovider", "tests"]
    ran = subprocess.run(
        command, cwd=small_project, env=surroundings | environment, capture_output=True, text=True, check=False
    )
    words = (line.split() for line in ran.stdout.splitlines() if "::test_" in line and "%]" in line)
    found = {name.partition("::")[2].removeprefix("test_that_"): outcome for name, outcome, *_ in words}
    found["exit code"] = str(ran.returncode)
    return found


def test_without_ci_all_of_them_are_skips(small_project: Path) -> None:
    assert outcomes(small_project) == {
        "needs_an_oracle": "SKIPPED",
        "needs_an_oracle_for_a_reason": "SKIPPED",
        "looks_for_recordings_in_the_wrong_place": "SKIPPED",
        "needs_recordings": "SKIPPED",
        "is_skipped_for_a_reason_of_its_own": "SKIPPED",
        "is_expected_to_fail": "XFAIL",
        "exit code": "0",
    }


def test_in_ci_a_missing_oracle_fails_and_absent_recordings_are_skipped(small_project: Path) -> None:
    assert outcomes(small_project, CI="true") == {
        "needs_an_oracle": "FAILED",
        "needs_an_oracle_for_a_reason": "FAILED",
        "looks_for_recordings_in_the_wrong_place": "SKIPPED",
        "needs_recordings": "SKIPPED",
        "is_skipped_for_a_reason_of_its_own": "SKIPPED",
        "is_expected_to_fail": "XFAIL",
        "exit code": "1",
    }


def test_in_ci_overlooking_recordings_that_are_there_fails(small_project: Path) -> None:
    (small_project.parent / "shared" / "data").mkdir(parents=True)
    found = outcomes(small_project, CI="1")
    assert found["looks_for_recordings_in_the_wrong_place"] in ("FAILED", "ERROR")
    assert found["needs_recordings"] == "PASSED"
    assert found["is_skipped_for_a_reason_of_its_own"] == "SKIPPED"


def test_in_ci_a_file_that_skips_itself_for_a_missing_oracle_fails_the_run(small_project: Path) -> None:
    (small_project / "tests" / "test_small.py").write_text(SKIPPING_FILE)
    # 5 is pytest's "no tests ran", 2 its "errors while collecting"
    assert outcomes(small_project)["exit code"] == "5"
    assert outcomes(small_project, CI="1")["exit code"] == "2"
