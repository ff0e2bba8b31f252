import ast
import os
import shutil
import subprocess
import sys
import time

import custom_trainer
from sear.files import PROJECT_ROOT

RUN = [sys.executable, str(PROJECT_ROOT / "custom_trainer.py")]


def test_only_python_3_10_to_3_14_pass():
    for version in ((3, 10, 0), (3, 11, 7), (3, 12, 3), (3, 14, 1)):
        assert custom_trainer.wrong_python(version) == ""
    for version, text in (((2, 7, 18), "2.7"), ((3, 9, 1), "3.9"), ((3, 15, 0), "3.15"), ((4, 0, 0), "4.0")):
        assert custom_trainer.wrong_python(version).startswith(
            f"error: SEAR needs Python 3.10 to 3.14, this is {text} - start it with"
        )


def test_any_python_can_read_the_entry():
    source = (PROJECT_ROOT / "custom_trainer.py").read_text(encoding="ascii")
    modern = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Match)
    for node in ast.walk(ast.parse(source)):
        assert not isinstance(node, modern)
        assert not (isinstance(node, ast.FunctionDef) and (node.returns or node.args.kwonlyargs))
        assert not (isinstance(node, ast.arg) and node.annotation)
    old = next((path for name in ("python2.7", "python3.6", "python3.9") if (path := shutil.which(name))), None)
    if old:
        found = subprocess.run([old, RUN[1]], capture_output=True, text=True)
        assert found.returncode != 0 and "Traceback" not in found.stderr and "SyntaxError" not in found.stderr


def test_missing_packages_are_named(tmp_path):
    (tmp_path / "requirements.txt").write_text(
        "# why\nnumpy<2  # because\nno-such-package-1==1.0\n--extra-index-url https://example.org\n\nno_such.2\n"
    )
    assert custom_trainer.missing_packages(tmp_path / "requirements.txt") == ["no-such-package-1", "no_such.2"]


def test_another_version_than_the_pinned_one_will_do_and_the_encoder_may_be_absent(tmp_path):
    (tmp_path / "requirements.txt").write_text("numpy==0.0.1\nsentence-transformers>=99\n")
    assert custom_trainer.missing_packages(tmp_path / "requirements.txt") == []


def test_missing_packages_end_it_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(custom_trainer, "missing_packages", lambda _: ["numba", "torch"])
    assert custom_trainer.main() == 2
    assert capsys.readouterr().err == "error: not installed: numba, torch - run: pip install -r requirements.txt\n"


def test_a_missing_recbole_is_told_with_the_command_that_leaves_its_dependencies_out(monkeypatch, capsys):
    monkeypatch.setattr(custom_trainer, "missing_recbole", lambda: True)
    monkeypatch.setattr(custom_trainer, "missing_packages", lambda _: [])
    assert custom_trainer.main() == 2
    remedy = "pip install --no-deps recbole==1.2.1"
    assert capsys.readouterr().err == f"error: not installed: recbole - run: {remedy}\n"
    monkeypatch.setattr(custom_trainer, "missing_packages", lambda _: ["torch"])
    assert custom_trainer.main() == 2
    everything = f"pip install -r requirements.txt && {remedy}"
    assert capsys.readouterr().err == f"error: not installed: torch, recbole - run: {everything}\n"


def test_a_mistake_is_told_at_once_from_any_folder(tmp_path):
    start = time.perf_counter()
    found = subprocess.run([*RUN, "--dataset=ml100k"], capture_output=True, text=True, cwd=tmp_path)
    assert time.perf_counter() - start < 5  # a busy machine; torch alone takes longer than the rest together
    assert found.returncode == 2 and found.stdout == ""
    assert found.stderr.startswith("error: unknown data set ml100k (did you mean ml-100k?)")
    assert os.listdir(tmp_path) == []


def test_nothing_heavy_is_imported_for_the_first_sign_of_life():
    heavy = "torch", "recbole", "numpy", "pandas", "numba", "sklearn", "scipy", "matplotlib", "sentence_transformers"
    code = f"import sys, sear.cli.main, sear.cli.help; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT_ROOT)
    assert found.stdout == "[]\n", found.stderr
