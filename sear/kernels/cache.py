"""Where compiled kernels are kept between runs, checked when they are read: numba's cache, made to forgive.

numba by itself raises where a file of its cache is cut short or the folder cannot be written to, and runs whatever
machine code it finds. Here damage means compiling once more, and a cache that cannot be written is none.
"""

import hashlib
import logging
import os
import pickle
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.sigutils import normalize_signature

logger = logging.getLogger("sear")


def _cache_folder() -> Path | None:
    """Where to keep compiled kernels, named by numba's version and the sources of all modules here but Triton's.

    numba itself looks only at the file a kernel stands in: it would miss a change to a helper in another file, such as
    threads.py. None where no place can be written to.
    """
    package = Path(__file__).parent
    paths = [path for path in sorted(package.glob("*.py")) if not path.name.startswith("triton_")]
    sources = [numba.__version__.encode(), *(path.read_bytes() for path in paths)]
    name = f"kernels-{hashlib.sha256(b''.join(sources)).hexdigest()[:16]}"
    for place in (os.environ.get("NUMBA_CACHE_DIR"), package / "__pycache__", "~/.cache/sear"):
        with suppress(OSError, RuntimeError):  # RuntimeError: the user has no home
            if place:
                (folder := Path(place).expanduser() / name).mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    return folder
    return None


CACHE_FOLDER = _cache_folder()


@cache
def _say_once(problem: str) -> None:
    logger.warning(problem)


class _CheckedFiles(IndexDataCacheFile):
    """Each file of machine code begins with its own hash: a flipped bit must not run."""

    def _save_data(self, name, data):
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def _load_data(self, name):
        digest, content = (data := Path(self._data_path(name)).read_bytes())[:32], data[32:]
        if hashlib.sha256(content).digest() != digest:
            raise pickle.UnpicklingError(f"{name} is damaged")
        return pickle.loads(content)


class _KernelCache(FunctionCache):
    """The files of one kernel."""

    def __init__(self, py_func):
        super().__init__(py_func)
        # numba would name a folder by where the source lies; without it a copy of the project uses the kernels in it
        self._impl.locator._cache_path = self._cache_path = str(CACHE_FOLDER)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _CheckedFiles(self.cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig, target_context):
        try:
            found = super().load_overload(sig, target_context)
            if found is not None and found.signature.args != normalize_signature(sig)[0]:
                # two processes that compile for two types into an empty cache may take the same name for their files
                raise pickle.UnpicklingError("the index names the code for other types")
            return found
        except Exception:  # what unpickling damaged files raises is not limited to a few types
            _say_once(f"compiled kernels in {self.cache_path} are damaged: compiling them once more")
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _say_once(f"compiled kernels are not kept, as {self.cache_path} cannot be written to: {error}")


def keep(dispatcher) -> None:
    """Let numba keep what it compiles for a kernel, and find it there in the next run."""
    if CACHE_FOLDER is None:
        _say_once("compiled kernels are not kept: set NUMBA_CACHE_DIR to a folder that can be written to")
        return
    numba.config.CACHE_DIR, before = str(CACHE_FOLDER), numba.config.CACHE_DIR
    try:
        dispatcher._cache = _KernelCache(dispatcher.py_func)
    except RuntimeError:  # the folder was lost meanwhile, and numba finds no other
        _say_once(f"compiled kernels are not kept, as {CACHE_FOLDER} cannot be written to")
    finally:
        numba.config.CACHE_DIR = before
