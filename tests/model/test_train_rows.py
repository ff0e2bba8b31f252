"""Which training rows a model learns from: its class says so, and its subclasses inherit it."""

import pytest

from sear.data.dataset import train_rows
from sear.errors import InputError
from sear.settings.recbole_config import model_class


class Config(dict):
    def __init__(self, kind, asked=None):
        super().__init__(train_rows=asked, model=kind.__name__)
        self.model_class = kind


@pytest.mark.parametrize(
    "name, expected", [("SEAR", "windows"), ("Pop", "windows"), ("BSARec", "prefixes"), ("NARM", "prefixes")]
)
def test_the_class_says_which_rows_it_learns_from(name, expected):
    assert train_rows(Config(model_class(name))) == expected


def test_a_subclass_inherits_them_wherever_it_stands():
    class Mine(model_class("SASRec")):
        __module__ = "my_package.my_module"

    assert train_rows(Config(Mine)) == "windows"
    assert train_rows(Config(Mine, "prefixes")) == "prefixes"


def test_a_model_of_another_kind_is_not_trusted_for_its_place():
    class Stranger(model_class("NARM")):
        __module__ = "sear.model.stranger"

    assert train_rows(Config(Stranger)) == "prefixes"
    with pytest.raises(InputError, match="train_rows is windows, but Stranger learns from the last event of a row"):
        train_rows(Config(Stranger, "windows"))
