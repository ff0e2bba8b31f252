"""The log file has every line, plain; the terminal has few."""

import logging
import warnings
from io import BytesIO, TextIOWrapper

import pytest

from sear.runs.log import RunLog, Terminal


@pytest.fixture(autouse=True)
def quiet_root():
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.WARNING)
    yield
    logging.getLogger().setLevel(level)


def lines(path):
    """The messages, without the time before them."""
    return [line[20:] for line in path.read_text(encoding="utf-8").splitlines()]


def from_recbole(level, message):
    record = logging.LogRecord("root", level, "/site-packages/recbole/data/utils.py", 1, message, None, None)
    logging.getLogger().handle(record)


def test_lines_before_the_folder_exists_are_not_lost(tmp_path):
    with RunLog() as log:
        logging.getLogger().info("\x1b[1;34mbefore\x1b[0m %d", 1)
        log.write_to(tmp_path / "run.log")
        from_recbole(logging.INFO, "\x1b[0;32mafter\x1b[0m")
    logging.getLogger().error("too late")
    assert lines(tmp_path / "run.log") == ["INFO before 1", "INFO after"]


def test_a_resumed_run_goes_on_in_the_same_file(tmp_path):
    for word in ("one", "two"):
        with RunLog() as log:
            log.write_to(tmp_path / "run.log")
            logging.getLogger("sear").info(word)
    assert lines(tmp_path / "run.log") == ["INFO one", "INFO two"]


def test_the_error_that_ends_a_run_is_logged_with_its_traceback(tmp_path):
    with pytest.raises(KeyError), RunLog() as log:
        log.write_to(tmp_path / "run.log")
        warnings.warn("odd", stacklevel=1)
        raise KeyError("lost")
    text = (tmp_path / "run.log").read_text()
    assert "UserWarning: odd" in text and "ended by KeyError: 'lost'" in text and "Traceback" in text


def test_the_root_logger_is_left_as_it_was():
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    with RunLog(), Terminal():
        assert root.level == logging.INFO
    assert (root.level, root.handlers) == before


def test_the_terminal_shows_our_words_and_others_warnings(capsys):
    with Terminal():
        logging.getLogger().info("epoch 1")
        logging.getLogger("sear.text").info("\x1b[1;34mencoded\x1b[0m")
        from_recbole(logging.INFO, "general hyper parameters")
        from_recbole(logging.WARNING, "odd setting")
        logging.getLogger("sentence_transformers").info("loading")
    assert capsys.readouterr().out.splitlines() == ["epoch 1", "encoded", "warning: odd setting"]


def test_the_terminal_at_debug_shows_everything(capsys):
    with Terminal("debug"):
        from_recbole(logging.INFO, "general hyper parameters")
    assert capsys.readouterr().out == "general hyper parameters\n"


def test_a_terminal_without_unicode_does_not_end_the_run(monkeypatch):
    raw = BytesIO()
    monkeypatch.setattr("sys.stdout", TextIOWrapper(raw, encoding="ascii"))
    with Terminal():
        logging.getLogger().info("[20,∞)")
    assert raw.getvalue() == b"[20,?)\n"


def test_a_standard_output_that_is_closed_ends_no_run(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)  # as Python has it after `>&-`
    with Terminal():
        logging.getLogger("sear").info("told to nobody")
