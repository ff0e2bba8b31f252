"""`sear serve` as a process: what it says, how it stops, what it refuses to begin with."""

import asyncio
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from sear.cli import commands
from sear.files import PROJECT_ROOT
from sear.serve.server import is_loopback, listen

pytest.importorskip("uvicorn", reason="no uvicorn here: pip install -r requirements-dev.txt")
pytest.importorskip("fastapi", reason="no FastAPI here: pip install -r requirements-dev.txt")

LARGE = b"POST /recommend HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000000\r\n\r\n"


@contextmanager
def serving(folder, *words, **variables):
    """A process that serves, and its port; killed at the end where it did not stop by itself."""
    command = [sys.executable, "-m", "sear", "serve", str(folder), "--port=0", *words]
    process = subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=os.environ | variables, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.match(r"http://\S+:(\d+) ", line):
                process.said = said
                yield process, int(found[1])
                break
        else:
            pytest.fail("".join(said))
    finally:
        process.kill()
        process.wait(10)
        process.stderr.close()


def ask(port, method, path, body=None, **headers):
    """Status and what was answered, as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    content = None if body is None else json.dumps(body)
    connection.request(method, path, content, {"content-type": "application/json", **headers})
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def wait_until_ready(port):
    until = time.monotonic() + 120
    while ask(port, "GET", "/ready")[0] != 200:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_answers_are_sent_at_once_and_not_when_the_client_has_confirmed_what_came_before():
    async def accepted():
        made = asyncio.get_running_loop().create_future()
        listener = listen("127.0.0.1", 0)
        server = await asyncio.start_server(lambda _, writer: made.set_result(writer), sock=listener)
        with socket.create_connection(listener.getsockname()):
            writer = await made
            told = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
        server.close()
        return told

    assert asyncio.run(accepted())


@pytest.mark.slow
def test_it_answers_and_stops_on_sigterm_with_every_request_answered(model_folder):
    with serving(model_folder) as (process, port):
        assert process.said[0] == "SEAR on made-up: 60 items\n"
        wait_until_ready(port)
        statuses = []

        def client():
            while True:
                try:
                    statuses.append(ask(port, "POST", "/recommend", {"history": ["i1", "i2"]})[0])
                except ConnectionRefusedError:  # it no longer listens
                    return

        clients = [threading.Thread(target=client) for _ in range(4)]
        for one in clients:
            one.start()
        while len(statuses) < 20:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        for one in clients:
            one.join(60)
        assert process.wait(60) == 0
        assert set(statuses) == {200}
        assert process.stderr.read() == "ready\n"


@pytest.mark.slow
def test_a_body_of_100_mb_is_answered_before_it_is_sent(model_folder):
    with serving(model_folder) as (process, port):
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            client.sendall(
                b"POST /recommend HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000000\r\n\r\n" + b"x" * 1000
            )
            assert client.recv(65536).startswith(b"HTTP/1.1 413 ")
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            client.sendall(LARGE)
            for _ in range(1000):
                client.sendall(b"x" * 100_000)  # a client that reads only when it has sent everything
            assert client.recv(65536).startswith(b"HTTP/1.1 413 ")
        assert ask(port, "POST", "/recommend", {})[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.slow
def test_with_a_token_other_names_and_addresses_are_answered(model_folder):
    token = "a-token-for-this-test"
    with serving(model_folder, "--host=0.0.0.0", SEAR_TOKEN=token) as (process, port):
        assert ask(port, "GET", "/model", host="shop.example")[0] == 401
        assert ask(port, "GET", "/model", host="shop.example", authorization=f"Bearer {token}")[0] == 200
        assert ask(port, "GET", "/health")[0] == 200
    assert token not in "".join(process.said)


def refused(capsys, *words):
    """The one line that `sear serve` ends with."""
    assert commands.main(["serve", *words]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1
    return told


def test_a_port_in_use_is_told_before_anything_is_loaded(capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = refused(capsys, str(tmp_path), f"--port={port}")
        assert told == f"error: --port={port}: in use on 127.0.0.1 - stop what listens there, or name another\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", ""])
def test_other_addresses_need_a_token(capsys, monkeypatch, model_folder, host):
    monkeypatch.delenv("SEAR_TOKEN", raising=False)
    assert "set SEAR_TOKEN to a secret" in refused(capsys, str(model_folder), f"--host={host}")


@pytest.mark.parametrize("token", ["", "short", "a token with spaces around  ", "ünïcödé-tokens-fail"])
def test_a_token_that_is_none_is_refused(capsys, monkeypatch, model_folder, token):
    monkeypatch.setenv("SEAR_TOKEN", token)
    assert "SEAR_TOKEN: holds no token" in refused(capsys, str(model_folder), "--port=0")


@pytest.mark.parametrize(
    "words, part",
    [
        (["--port=70000"], "--port=70000: no port"),
        (["--host=no.such.host.example"], "no address of this machine"),
        (["--port=0", "--device=cuda:99"], "device"),
        (["--port=0", "--threads=0"], "--threads=0: no number of threads"),
    ],
)
def test_an_address_that_is_not_to_be_had(capsys, monkeypatch, model_folder, words, part):
    monkeypatch.delenv("SEAR_TOKEN", raising=False)
    assert part in refused(capsys, str(model_folder), *words)


def test_a_folder_without_a_model(capsys, tmp_path):
    assert "holds no model" in refused(capsys, str(tmp_path), "--port=0")
    assert "holds no model" in refused(capsys, str(tmp_path / "none"), "--port=0")


def test_a_model_that_cannot_answer_ends_the_program(capsys, monkeypatch, model_folder, tmp_path):
    monkeypatch.delenv("SEAR_TOKEN", raising=False)
    broken = shutil.copytree(model_folder, tmp_path / "broken")
    (broken / "texts.safetensors").write_bytes(b"cut")
    assert commands.main(["serve", str(broken), "--port=0"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: the model cannot answer: ") and "texts.safetensors is damaged" in last


def test_what_is_loopback():
    assert is_loopback("127.0.0.1") and is_loopback("127.8.0.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("::") and not is_loopback("10.0.0.1")
