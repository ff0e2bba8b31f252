"""What is recorded of machine and code."""

import subprocess

import numpy as np
import pytest

from sear.runs.machine import VERSIONS, commit, environment, installed


def git(root, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", root, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-m", "begin")
    return tmp_path


def test_every_key_is_there_and_plain():
    found = environment("cpu")
    assert list(found) == ["python", "torch", *VERSIONS, "cpu", "threads", "device", "commit"]
    assert found["recbole"] == "1.2.1" and found["device"] == "cpu" and found["threads"] >= 1 and found["cpu"]


def test_a_package_that_is_not_there_has_no_version():
    assert installed("numpy") == np.__version__ and installed("no-such-package") is None


def test_commit_tells_changed_code_but_not_a_runs_results(repository):
    clean = commit(repository)
    assert len(clean) == 40
    (repository / "results.csv").write_text("new\n")
    assert commit(repository) == clean
    (repository / "code.py").write_text("2\n")
    assert commit(repository) == f"{clean}+changes"


def test_no_commit_outside_git_nor_inside_somebody_elses(repository, tmp_path_factory, monkeypatch):
    inner = repository / "site-packages"
    inner.mkdir()
    assert commit(inner) is None
    assert commit(tmp_path_factory.mktemp("plain")) is None
    monkeypatch.setenv("PATH", "")
    assert commit(repository) is None
