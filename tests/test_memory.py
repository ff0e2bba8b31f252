"""What is said when memory does not suffice, whoever notices it."""

import numpy as np
import pytest
import torch

from sear.errors import InputError, OutOfMemoryError
from sear.memory import enough_memory_to, in_words, is_out_of_memory, machine_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes. Error code 12"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 64 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        RuntimeError("std::bad_alloc"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_every_librarys_word_for_it_is_known(error):
    assert is_out_of_memory(error)
    with pytest.raises(OutOfMemoryError) as told, enough_memory_to("train", {"train_batch_size": 2048, "k": None}):
        raise error
    assert "\n" not in str(told.value)
    assert str(told.value).startswith("out of memory: the machine has not enough to train")
    assert str(told.value).endswith(" - lower train_batch_size (2048)")


def test_what_was_asked_for_is_told():
    with pytest.raises(OutOfMemoryError, match=r"\(281 TB asked for at once\) - use a larger one"):
        with enough_memory_to("read the data", {}):
            torch.empty(1 << 46)
    with pytest.raises(OutOfMemoryError, match="asked for at once"), enough_memory_to("read", {}):
        np.empty(1 << 45)


def test_other_errors_are_left_as_they_are():
    for error in (RuntimeError("shapes cannot be multiplied"), InputError("out of memory")):
        with pytest.raises(type(error)) as told, enough_memory_to("train", {"k": 1}):
            raise error
        assert told.value is error


def test_sizes_are_told_as_people_read_them():
    sizes = 12, 1500, 25_300_000_000, 10**20
    assert [in_words(size) for size in sizes] == ["12 bytes", "1.5 kB", "25 GB", "100,000 PB"]
    assert 1 << 28 < machine_memory() <= 1 << 47
