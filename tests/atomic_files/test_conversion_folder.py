"""Where a conversion writes: nothing is replaced unasked, and nothing half-written is left."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from sear.atomic_files import replace_folder
from sear.atomic_files.__main__ import main
from sear.files import PROJECT_ROOT
from tests.helpers.config_folder import copy_config
from tests.helpers.raw_dumps import convert, json_lines, review, rows, snapshot, write_lines, write_toys

GOOD = review("A1", "B1", 1405296000)


def test_files_with_other_content_are_never_replaced_unless_asked(tmp_path, capsys):
    write_toys(tmp_path, json_lines([GOOD]))
    for suffix in ("inter", "item"):
        assert convert(tmp_path, "Toys", tmp_path / "raw", "--overwrite") == 0
        converted = snapshot(tmp_path)
        assert convert(tmp_path, "Toys", tmp_path / "raw") == 0  # the same once more does no harm
        write_lines(tmp_path / "dataset" / "Toys" / f"Toys.{suffix}", ["a file of somebody's own"])
        before = snapshot(tmp_path)
        assert convert(tmp_path, "Toys", tmp_path / "raw") == 2
        assert f"Toys.{suffix} is there already and differs" in (told := capsys.readouterr().err)
        assert "--overwrite" in told and snapshot(tmp_path) == before
        assert convert(tmp_path, "Toys", tmp_path / "raw", "--overwrite") == 0
        assert snapshot(tmp_path) == converted


def test_a_place_that_cannot_be_written_to_is_told_in_one_line(tmp_path, capsys):
    write_toys(tmp_path, json_lines([GOOD]))
    (tmp_path / "dataset").write_text("a file")
    assert convert(tmp_path, "Toys", tmp_path / "raw") == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {tmp_path / 'dataset'}") and told.count("\n") == 1


def test_a_failed_conversion_leaves_the_earlier_files_as_they_were(tmp_path):
    write_toys(tmp_path, json_lines([GOOD]))
    assert convert(tmp_path, "Toys", tmp_path / "raw") == 0
    before = rows(tmp_path, "Toys", "inter"), rows(tmp_path, "Toys", "item")
    write_toys(tmp_path, json_lines([GOOD, review("A9", "B9", 5)]))
    write_lines(tmp_path / "raw" / "meta_Toys.json", ["no product"])
    assert convert(tmp_path, "Toys", tmp_path / "raw") == 2
    assert (rows(tmp_path, "Toys", "inter"), rows(tmp_path, "Toys", "item")) == before
    assert len(list((tmp_path / "dataset" / "Toys").iterdir())) == 2


def test_no_folder_that_a_failed_conversion_made_is_left(tmp_path):
    write_toys(tmp_path, json_lines([GOOD]), [{"asin": "B1"}])
    assert main(["Toys", str(tmp_path / "raw"), f"--out={tmp_path / 'x1' / 'x2' / 'x3'}"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


KILLED = """
import os, signal, sys
from sear.atomic_files import replace_folder
from sear.atomic_files.__main__ import main

def fatal(call, number, count=[0]):
    def run(*arguments, **named):
        for moment in ("before", "after"):
            count[0] += 1
            if count[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*arguments, **named) if moment == "before" else result
        return result
    return run

number = int(sys.argv[1])
os.rename, os.replace, os.link = (fatal(call, number) for call in (os.rename, os.replace, os.link))
replace_folder.exchanged = fatal(replace_folder.exchanged, number)
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the next converter finishes the pair")
def test_a_kill_at_any_moment_of_replacing_leaves_the_old_pair_or_the_new_one(tmp_path):
    toys = tmp_path / "dataset" / "Toys"
    arguments = ["Toys", str(tmp_path / "raw"), f"--out={tmp_path / 'dataset'}", "--overwrite"]
    states = {}
    for version in ("old", "new"):
        write_toys(tmp_path, json_lines([GOOD | {"reviewerID": version}]), [{"asin": "B1", "title": version}])
        assert main(arguments) == 0
        states[version] = rows(tmp_path, "Toys", "inter"), rows(tmp_path, "Toys", "item")
    (toys / "texts.safetensors").write_text("cache")
    (toys / "sub").mkdir()
    seen = []
    for number in range(1, 20):
        write_toys(tmp_path, json_lines([GOOD | {"reviewerID": "old"}]), [{"asin": "B1", "title": "old"}])
        assert main(arguments) == 0
        write_toys(tmp_path, json_lines([GOOD | {"reviewerID": "new"}]), [{"asin": "B1", "title": "new"}])
        code = subprocess.run([sys.executable, "-c", KILLED, str(number), *arguments], cwd=PROJECT_ROOT).returncode
        found = rows(tmp_path, "Toys", "inter"), rows(tmp_path, "Toys", "item")
        seen.append(next(version for version, state in states.items() if state == found))
        assert (toys / "texts.safetensors").read_text() == "cache"
        if code == 0:
            break
    assert code == 0 and set(seen) == {"old", "new"} and len(seen) > 3
    assert main(arguments) == 0
    assert [path.name for path in (tmp_path / "dataset").iterdir()] == ["Toys"]  # what was left aside is gone
    assert sorted(path.name for path in toys.iterdir()) == ["Toys.inter", "Toys.item", "sub", "texts.safetensors"]


def test_where_folders_cannot_change_places_the_next_converter_finishes_the_pair(tmp_path, monkeypatch):
    monkeypatch.setattr(replace_folder, "exchanged", lambda *_: False)
    write_toys(tmp_path, json_lines([GOOD]))
    assert convert(tmp_path, "Toys", tmp_path / "raw") == 0
    (tmp_path / "dataset" / "Toys" / "texts.safetensors").write_text("cache")
    write_toys(tmp_path, json_lines([GOOD | {"reviewerID": "new"}]), [{"asin": "B1", "title": "new"}])
    assert convert(tmp_path, "Toys", tmp_path / "raw", "--overwrite") == 0
    whole = snapshot(tmp_path)
    half = tmp_path / "dataset" / f".Toys.{replace_folder.HOST}-999999999.commit"
    half.mkdir()
    (tmp_path / "dataset" / "Toys" / "Toys.item").rename(half / "Toys.item")
    assert convert(tmp_path, "Toys", tmp_path / "raw", "--overwrite") == 0
    assert snapshot(tmp_path) == whole and not half.exists()


def test_what_killed_converters_left_is_removed_and_what_running_ones_write_is_not(tmp_path):
    write_toys(tmp_path, json_lines([GOOD]))
    assert convert(tmp_path, "Toys", tmp_path / "raw") == 0
    host, folder = replace_folder.HOST, tmp_path / "dataset"
    dead, running = folder / f".Toys.{host}-999999999.tmp", folder / f".Toys.{host}-{os.getppid()}.tmp"
    for place in (dead, running):
        place.mkdir()
        (place / "Toys.inter").touch()
    (folder / "Toys" / ".Toys.inter.999999999.tmp").touch()  # as earlier versions named it
    assert convert(tmp_path, "Toys", tmp_path / "raw") == 0
    assert not dead.exists() and running.exists()
    assert sorted(path.name for path in (folder / "Toys").iterdir()) == ["Toys.inter", "Toys.item"]


@pytest.mark.long
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_ends_in_one_line_and_leaves_nothing(tmp_path, number, code):
    write_toys(tmp_path, json_lines([review(f"A{row}", "B1", row) for row in range(200_000)]))
    command = [
        sys.executable,
        "-m",
        "sear.atomic_files",
        "Toys",
        str(tmp_path / "raw"),
        f"--out={tmp_path / 'dataset'}",
    ]
    with subprocess.Popen(command, cwd=PROJECT_ROOT, stderr=subprocess.PIPE, text=True) as running:
        while not list(tmp_path.glob("dataset/.Toys*/*")) and running.poll() is None:
            time.sleep(0.01)
        running.send_signal(number)
        told = running.communicate()[1]
    assert running.returncode == code
    assert told.strip().split("\n")[-1].startswith("stopped") and "Traceback" not in told
    assert not list(tmp_path.glob("dataset/**/*"))


@pytest.mark.parametrize(
    "number, told", [(errno.ENOSPC, "free some space"), (errno.EACCES, "give yourself the rights")]
)
def test_a_machine_that_refuses_is_told_in_one_line_and_nothing_changes(tmp_path, capsys, monkeypatch, number, told):
    write_toys(tmp_path, json_lines([GOOD]))

    def fail(path, *_):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("sear.atomic_files.convert.write_events", fail)
    assert convert(tmp_path, "Toys", tmp_path / "raw") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'dataset'}: ") and told in error and error.count("\n") == 1
    assert not (tmp_path / "dataset").exists()


def test_a_console_that_is_not_utf8_shows_question_marks(tmp_path):
    write_lines(tmp_path / "raw" / "e.csv", ["user,item,time,标题", "u1,☃1,1300000000,雪", "u1,☃2,1300000001,"])
    options = [
        "--format=csv",
        "--user=user",
        "--item=item",
        "--time=time",
        "--text=标题",
        f"--out={tmp_path / 'dataset'}",
    ]
    for encoding in ("cp1252", "ascii"):
        done = subprocess.run(
            [sys.executable, "-m", "sear.atomic_files", "mydata", str(tmp_path / "raw"), *options],
            cwd=PROJECT_ROOT,
            env=os.environ | {"PYTHONIOENCODING": encoding},
            capture_output=True,
        )
        assert done.returncode == 0 and b"(the first: ?2)" in done.stdout and not done.stderr


@pytest.mark.parametrize(
    "rating, text, streams",
    [
        (["--rating=stars"], ["--text=title"], None),
        ([], ["--text=title"], ["semantic", "collaborative"]),
        (["--rating=stars"], [], ["collaborative", "rating"]),
        ([], [], ["collaborative"]),
        (["--rating=none"], [], ["collaborative"]),
    ],
)
def test_the_config_is_written_with_the_streams_that_the_data_allow(tmp_path, capsys, rating, text, streams):
    write_lines(tmp_path / "raw" / "e.csv", ["user,item,time,stars,none,title", "u,i,1300000000,4,NA,Cup"])
    names = ("--format=csv", "--user=user", "--item=item", "--time=time", *rating, *text)
    file = tmp_path / "made" / "mydata.yaml"
    assert convert(tmp_path, "mydata", tmp_path / "raw", *names, f"--write_config={file}") == 0
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert config.get("streams") == streams and config.get("text_init") == (None if text else False)
    assert ("rating" in config["load_col"]["inter"]) == (rating == ["--rating=stars"])
    assert f"wrote {file}" in (told := capsys.readouterr().out) and f"--config={file}" in told


def test_a_config_that_is_there_is_replaced_only_when_asked_for(tmp_path, capsys, monkeypatch):
    config = copy_config(tmp_path, monkeypatch) / "data" / "mydata.yaml"
    write_lines(tmp_path / "raw" / "e.csv", ["user,item,time", "u,i,1300000000"])
    names = ("--format=csv", "--user=user", "--item=item", "--time=time", "--write_config")
    assert convert(tmp_path, "mydata", tmp_path / "raw", *names) == 0
    assert "python custom_trainer.py --dataset=mydata\n" in capsys.readouterr().out
    assert convert(tmp_path, "mydata", tmp_path / "raw", *names) == 0
    config.write_text("epochs: 3\n")
    (tmp_path / "dataset" / "mydata" / "mydata.inter").unlink()
    assert convert(tmp_path, "mydata", tmp_path / "raw", *names) == 2
    told = capsys.readouterr().err
    assert "mydata.yaml is there already and differs" in told and "nothing was changed" in told
    assert config.read_text() == "epochs: 3\n" and snapshot(tmp_path) == {}
    assert convert(tmp_path, "mydata", tmp_path / "raw", *names, "--overwrite") == 0
    assert convert(tmp_path, "beauty", tmp_path / "raw", *names) == 2
    assert "beauty has its config/data/beauty.yaml already" in capsys.readouterr().err


def test_how_to_train_is_not_told_again_where_the_config_is_there(tmp_path, capsys, monkeypatch):
    config = copy_config(tmp_path, monkeypatch) / "data" / "mydata.yaml"
    write_lines(tmp_path / "raw" / "e.csv", ["user,item,time", "u,i,1300000000"])
    names = ("--format=csv", "--user=user", "--item=item", "--time=time")
    assert convert(tmp_path, "mydata", tmp_path / "raw", *names, "--write_config") == 0
    capsys.readouterr()
    assert convert(tmp_path, "mydata", tmp_path / "raw", *names, "--overwrite") == 0
    assert "To train on it" not in capsys.readouterr().out
    config.write_text("epochs: 3\n")
    assert convert(tmp_path, "mydata", tmp_path / "raw", *names) == 0
    assert "To train on it, add --write_config" in capsys.readouterr().out


def test_a_config_of_another_encoding_is_one_that_differs(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "e.csv", ["user,item,time", "u,i,1300000000"])
    names, file = ("--format=csv", "--user=user", "--item=item", "--time=time"), tmp_path / "c.yaml"
    file.write_bytes("# größe\n".encode("latin-1"))
    assert convert(tmp_path, "mydata", tmp_path / "raw", *names, f"--write_config={file}") == 2
    assert "c.yaml is there already and differs" in capsys.readouterr().err
    assert convert(tmp_path, "mydata", tmp_path / "raw", *names, f"--write_config={file}", "--overwrite") == 0


def test_a_config_goes_into_a_file_and_this_is_told_before_the_work(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "e.csv", ["user,item,time", "u,i,1300000000"])
    os.mkfifo(tmp_path / "pipe")
    names = ("--format=csv", "--user=user", "--item=item", "--time=time", "--overwrite")
    for place in ("/dev/stdout", "/dev/null", tmp_path / "pipe", tmp_path):
        assert convert(tmp_path, "mydata", tmp_path / "raw", *names, f"--write_config={place}") == 2
        assert f"{place} is a" in (told := capsys.readouterr().err) and "no file - name a file" in told
    assert not (tmp_path / "dataset").exists()
