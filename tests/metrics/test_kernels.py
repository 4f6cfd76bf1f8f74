"""Kernels are compiled where nothing can be kept, too, and whoever waits for it is told."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest

from desed_task.metrics.curves import kernels


def add_one(value: int) -> int:
    """Pretends to be one of the kernels."""
    return value + 1


@pytest.fixture
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not compiled anything yet."""
    monkeypatch.setattr(kernels._FIRST, "said", False)
    monkeypatch.setattr(kernels._FIRST, "keeps", True)
    monkeypatch.setattr(add_one, "__module__", "desed_task.metrics.curves.of_a_test")


@pytest.mark.usefixtures("unsaid")
def test_the_first_kernel_that_is_compiled_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    compiled = kernels.njit(add_one)
    assert (compiled(1), compiled(1.5)) == (2, 2.5)
    (said,) = caplog.messages
    assert said.startswith("compiling the metrics' kernels, about half a minute")


@pytest.mark.usefixtures("unsaid")
def test_without_a_folder_to_write_to_kernels_are_compiled_and_not_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    real = kernels.njit

    def without_a_folder(*, cache: bool = False, nogil: bool) -> Callable[..., Any]:
        if cache:
            raise RuntimeError("cannot cache function 'add_one': no locator available for file")
        compile_later: Callable[..., Any] = real(nogil=nogil)
        return compile_later

    monkeypatch.setattr(kernels, "njit", without_a_folder)
    assert kernels.kernel(add_one)(1) == 2
    assert "set NUMBA_CACHE_DIR" in caplog.text


@pytest.mark.usefixtures("unsaid")
def test_other_packages_compile_without_a_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(add_one, "__module__", sys.__name__)
    assert kernels.njit(add_one)(1) == 2
    assert not caplog.messages
