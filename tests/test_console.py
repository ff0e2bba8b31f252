"""What programs print and how they end: stops while they are imported, readers that go away, odd terminals."""

import os
import signal
import subprocess
import sys

import pytest

from sear.console import INTERRUPTED, LONGEST_MESSAGE, TERMINATED, one_line, refuse, say, stopped_in_order
from sear.files import PROJECT_ROOT
from sear.program import obey

PROGRAMS = {
    "custom_trainer.py": ["custom_trainer.py"],
    "sear": ["-m", "sear", "train"],
    "convert": ["-m", "sear.atomic_files", "x", "y"],
    "report": ["-m", "sear.report", "x"],
    "statistics": ["-m", "sear.statistics", "x"],
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
def test_a_stop_during_the_first_imports_is_one_line(tmp_path, program, number, code):
    for name in ("yaml", "argparse"):
        (tmp_path / f"{name}.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    asked = [sys.executable, *PROGRAMS[program]]
    path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT_ROOT}"}
    done = subprocess.run(asked, capture_output=True, text=True, cwd=PROJECT_ROOT, env=os.environ | path)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "stopped\n")


def test_a_stop_in_order_is_an_exception_and_the_handlers_before_it_come_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as stop, stopped_in_order():
        signal.raise_signal(signal.SIGTERM)
    assert type(stop.value).__name__ == "Terminated"
    with pytest.raises(KeyboardInterrupt), stopped_in_order():
        signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_reader_that_goes_away_hears_no_more_and_nothing_is_told():
    help_text = [sys.executable, "custom_trainer.py", "--help"]
    with subprocess.Popen(help_text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT_ROOT) as program:
        program.stdout.close()
        assert program.stderr.read() == b"" and program.wait() == 0


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_that_lacks_a_sign_gets_another(encoding):
    asked = [sys.executable, "custom_trainer.py", "--dataset=Ω\u2028\n→"]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(asked, capture_output=True, cwd=PROJECT_ROOT, env=environment)
    assert (
        done.returncode == 2 and done.stderr.startswith(b"error: unknown data set ?") and done.stderr.count(b"\n") == 1
    )


def test_a_message_is_one_short_line(capsys):
    assert one_line("a\n  b\tc\x1b[1m") == r"a b\tc\x1b[1m"
    assert refuse("9" * 10_000 + " - write less") == 2
    told = capsys.readouterr().err
    assert told.startswith("error: 999") and told.endswith("9 - write less\n") and len(told) < LONGEST_MESSAGE + 20


def test_streams_that_are_closed_take_everything(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    assert obey(lambda: say(sys.stdout.isatty())) == 0 and obey(lambda: refuse("x") and 0) == 0
