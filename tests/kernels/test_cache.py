"""Compiled kernels between runs: a new dispatcher for the same function stands for the next run."""

import errno
import importlib.util
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from sear.kernels import cache
from sear.kernels.compiler import compiled, exp


def _double(values):
    for i in range(len(values)):
        values[i] *= 2


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CACHE_FOLDER", tmp_path)
    cache._say_once.cache_clear()
    return tmp_path


def run(caplog) -> tuple[bool, list[str]]:
    """Whether the code came from the cache, and the lines that were logged."""
    caplog.clear()
    dispatcher = compiled(_double)
    values = np.arange(3.0)
    with caplog.at_level(logging.WARNING, "sear"):
        dispatcher(values)
    assert values.tolist() == [0, 2, 4]
    return sum(dispatcher.stats.cache_hits.values()) == 1, [record.message for record in caplog.records]


def test_a_kernel_is_compiled_once_and_then_read(folder, caplog):
    assert run(caplog) == (False, [])
    assert run(caplog) == (True, [])


def test_a_copy_of_the_source_uses_the_kernels_of_the_first(folder):
    hits = []
    for place in ("first", "copy"):
        (folder / place).mkdir()
        path = shutil.copy2(__file__, folder / place)  # the time too, by which an earlier numba knows a source
        spec = importlib.util.spec_from_file_location("a_copy", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        dispatcher = compiled(module._double)
        dispatcher(np.arange(3.0))
        hits.append(sum(dispatcher.stats.cache_hits.values()))
    assert hits == [0, 1]


def cut_in_half(content):
    return content[: len(content) // 2]


def empty(content):
    return b""


def one_bit_flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [("nbi", cut_in_half), ("nbi", empty), ("nbc", cut_in_half), ("nbc", empty), ("nbc", one_bit_flipped)],
)
def test_a_damaged_file_is_told_in_one_line_and_written_anew(folder, caplog, suffix, damage):
    run(caplog)
    (path,) = folder.rglob(f"*.{suffix}")
    path.write_bytes(damage(path.read_bytes()))
    from_cache, (line,) = run(caplog)
    assert not from_cache
    assert line.startswith("compiled kernels in") and line.endswith("are damaged: compiling them once more")
    assert run(caplog) == (True, [])


def test_the_code_for_another_type_is_not_run(folder, caplog):
    """As two processes leave it that compiled for float64 and float32 at the same time and both took the name 1."""
    run(caplog)
    compiled(_double)(np.arange(3, dtype=np.float32))
    first, second = sorted(folder.rglob("*.nbc"))
    shutil.copy(second, first)
    from_cache, (line,) = run(caplog)
    assert not from_cache and line.endswith("are damaged: compiling them once more")
    assert run(caplog) == (True, [])


def test_a_folder_that_can_no_longer_be_written_to_is_told_in_one_line(folder, caplog, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    from_cache, (line,) = run(caplog)
    assert not from_cache
    assert line.startswith("compiled kernels are not kept") and "Read-only file system" in line
    assert not list(folder.rglob("*.nb?"))


def test_without_any_folder_kernels_are_compiled_and_one_line_says_so(folder, caplog, monkeypatch):
    monkeypatch.setattr(cache, "CACHE_FOLDER", None)
    caplog.set_level(logging.WARNING, "sear")
    assert compiled(_double).stats.cache_path is None
    assert compiled(_double).stats.cache_path is None
    (record,) = caplog.records
    assert record.message == "compiled kernels are not kept: set NUMBA_CACHE_DIR to a folder that can be written to"


def test_a_place_that_cannot_be_written_to_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "a file"))
    assert cache._cache_folder().parent.name == "__pycache__"

    def refuse(dir):
        raise PermissionError(errno.EACCES, "Permission denied", str(dir))

    monkeypatch.setattr(cache.tempfile, "TemporaryFile", refuse)
    assert cache._cache_folder() is None


def test_kernels_are_kept_in_a_folder_named_by_their_sources():
    compiled(exp_of_one)(np.ones(1))
    assert cache.CACHE_FOLDER.name.startswith("kernels-")
    assert list(cache.CACHE_FOLDER.rglob("*.nbi"))


def test_a_user_without_a_home_may_name_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it is without HOME and an entry of the user
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert cache._cache_folder().parent == tmp_path

    def refuse(dir):
        raise PermissionError(errno.EACCES, "Permission denied", str(dir))

    monkeypatch.setattr(cache.tempfile, "TemporaryFile", refuse)
    assert cache._cache_folder() is None


@pytest.mark.parametrize(
    "module, other", [("threads.py", True), ("compiler.py", True), ("scan.py", True), ("triton_scan.py", False)]
)
def test_a_change_to_a_module_that_numba_compiles_names_another_folder(tmp_path, monkeypatch, module, other):
    copy = shutil.copytree(Path(cache.__file__).parent, tmp_path / "kernels", ignore=shutil.ignore_patterns("__py*"))
    monkeypatch.setattr(cache, "__file__", str(copy / "cache.py"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    before = cache._cache_folder()
    (copy / module).write_text((copy / module).read_text() + "# changed\n")
    assert (cache._cache_folder() != before) == other


def exp_of_one(values):
    values[0] = exp(values[0])
