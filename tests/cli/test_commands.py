import pytest

import sear
from sear.cli import commands


def test_without_a_command_it_lists_what_there_is(capsys):
    assert commands.main([]) == commands.main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"sear {name} " in told for name in commands.COMMANDS)


def test_it_tells_the_version(capsys):
    assert commands.main(["--version"]) == 0
    assert capsys.readouterr().out == f"sear {sear.__version__}\n"


def test_a_misspelt_command_is_told_the_nearest(capsys):
    assert commands.main(["tain", "--epochs=1"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: unknown command tain (did you mean train?) - choose from train, convert, ")


def test_train_takes_the_words_of_the_command_line(capsys):
    assert commands.main(["train", "--dataset=ml100k"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown data set ml100k (did you mean ml-100k?)")
    assert commands.main(["train", "--help"]) == 0
    assert "--dataset=NAME[,NAME]" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name in commands.COMMANDS if name != "train"])
def test_the_others_call_themselves_by_the_name_they_were_called_by(name, capsys):
    with pytest.raises(SystemExit) as left:
        commands.main([name, "--help"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: sear {name} ")


def test_a_data_sets_statistics_by_name(capsys):
    assert commands.main(["statistics", "ml100k"]) == 2
    assert "did you mean ml-100k?" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in commands.COMMANDS if name != "train"])
def test_options_that_cannot_be_understood_are_one_line(name, capsys):
    with pytest.raises(SystemExit, match="2"):
        commands.main([name, "--nonsense=1", "--trials=x"])
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("error: ") and told.err.endswith(f"sear {name} --help explains\n")
    assert told.err.count("\n") == 1
