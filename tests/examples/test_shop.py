"""examples/shop.md: the made-up shop is what the page says, and its commands run one after the other."""

import csv
import re
import shlex
import subprocess
import sys
from collections import Counter

import pytest

from benchmarks.shop_walk import commands, copy_project
from sear.cli import export, recommend, serve, similar
from tests.helpers.doc_pages import ROOT
from tests.helpers.tiny_encoder import make_tiny_encoder

ALL_IN_ONE = """
import runpy, shlex, sys
from pathlib import Path
for line in sys.argv[1:]:
    print(">", line, flush=True)
    words = shlex.split(line)[1:]
    sys.argv = words[words[0] == "-m" :]
    try:
        if words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    if words[0] == "custom_trainer.py":
        print("newest:", Path("results/shop/SEAR/newest").read_text(), flush=True)
"""  # one process for all: each would import torch and RecBole anew
SMALL = "--hidden_size=8 --num_layers=1 --num_heads=2 --d_state=4 --text_init=False --epochs=1 --use_gpu=False"


def run(command, folder):
    words = [sys.executable, *shlex.split(command)[1:]]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=600)


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.long
def test_the_shop_is_what_the_page_says_and_a_day_more_adds_orders_at_the_end(tmp_path):
    for days in (40, 41):
        done = run(f"python {ROOT}/examples/make_shop.py {tmp_path / str(days)} --days={days}", tmp_path)
        assert done.returncode == 0, done.stderr
    orders, more = (rows(tmp_path / str(days) / "orders.csv") for days in (40, 41))
    assert more[: len(orders)] == orders and len(more) > len(orders)
    products = rows(tmp_path / "40" / "products.csv")
    assert len(products) == 800 and {row["product"] for row in orders} <= {row["product"] for row in products}
    assert 20 < sum(not row["name"] for row in products) < 50
    assert any("ö" in row["name"] for row in products)
    assert set(Counter(row["customer"] for row in orders).values()) > {1, 2, 5}


def test_the_commands_in_use_are_understood():
    found = [shlex.split(command)[3:] for command in commands() if "-m sear" in command]
    parsers = {"recommend": recommend, "similar": similar, "serve": serve, "export": export}
    for name, *words in (words for words in found if words[0] in parsers):
        assert parsers[name].parser().parse_args(words)


@pytest.mark.long
def test_the_page_runs_from_the_orders_to_a_newer_model(tmp_path):
    """In a copy of the project, with a toy encoder and a toy model; the service has tests of its own."""
    make_tiny_encoder(tmp_path / "encoder")
    copy_project(tmp_path, tmp_path / "encoder")
    lines = [f"{line} {SMALL}" if "custom_trainer" in line else line for line in commands() if "sear serve" not in line]
    done = subprocess.run([sys.executable, "-c", ALL_IN_ONE, *lines], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout, done.stderr)
    named = re.findall(r"^newest: (.+)$", done.stdout, re.M)
    assert len(set(named)) == 2
    top = rows(tmp_path / "top10.csv")
    customers = {row["customer"] for row in rows(tmp_path / "my_shop" / "orders.csv")}
    assert len(top) == 10 * len({row["user_id"] for row in top}) and {row["user_id"] for row in top} <= customers
    assert len({row["user_id"] for row in top}) > 2_900
