"""Where a model is computed: as asked for, or not at all."""

import pytest
import torch

from sear.errors import InputError
from sear.settings.recbole_config import build_config, config_from_settings, effective_settings


def test_a_device_is_cpu_or_cuda():
    config = build_config("ml-100k", "Pop", {"device": "cpu"})
    assert config["device"] == torch.device("cpu") and effective_settings(config)["use_gpu"] is False
    assert "device" not in effective_settings(config)
    with pytest.raises(InputError, match="arguments: device is 'gpu', not cpu, cuda or cuda:N - for example"):
        build_config("ml-100k", "Pop", {"device": "gpu"})


def test_a_gpu_that_is_asked_for_and_not_there_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for key, value in {"device": "cuda", "use_gpu": True, "gpu_id": 1}.items():
        with pytest.raises(InputError, match=f"arguments: {key} is .*, but torch finds no such GPU here"):
            build_config("ml-100k", "Pop", {key: value})
    (tmp_path / "my.yaml").write_text("device: cuda:1\n")
    with pytest.raises(InputError, match="my.yaml, line 1: device is 'cuda:1', but torch finds no such GPU"):
        build_config("ml-100k", "Pop", {}, [tmp_path / "my.yaml"])
    config = build_config("ml-100k", "Pop")  # a GPU where there is one
    assert config["device"] == torch.device("cpu")
    assert config_from_settings(effective_settings(config))["device"] == torch.device("cpu")
    for changes in ({"use_gpu": True}, {"gpu_id": "0"}, {"device": "cuda"}):
        with pytest.raises(InputError, match="command line: .* but torch finds no such GPU here"):
            config_from_settings(effective_settings(config), "config.yaml", changes)
    with pytest.raises(InputError, match="device is 'cuda'"):
        config_from_settings(effective_settings(config) | {"device": "cuda"})
