"""Files of one data set that change together: whoever looks, at whatever moment, finds all the old or all the new.

They are written into a folder beside the data set's own, .NAME.HOST-PROCESS.tmp, which then takes its place in one step
of the file system. Where there is no such step (not Linux, a mounted folder), files are renamed one by one; a
converter killed between two of them leaves .NAME.HOST-PROCESS.commit, and the next one finishes that first.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sear.files import HOST, exchanged, is_running


class FolderReplacement:
    """`place` is where NAME.inter and NAME.item are written; after `commit` they stand in the folder of that NAME.

    The folder's other files stay; where one of the two was not written, there is none afterwards.
    """

    def __init__(self, folder: Path):
        self.folder = folder.resolve()
        self.place = _beside(self.folder) / f".{self.folder.name}.{HOST}-{os.getpid()}.tmp"
        clear_left_behind(self.folder)
        _discard(self.place, self.folder)
        self.place.mkdir(parents=True)

    def commit(self) -> None:
        new = sorted(path.name for path in self.place.iterdir())
        for name in new:
            with open(self.place / name, "rb+") as file:
                os.fsync(file.fileno())
        if not self.folder.exists():
            os.rename(self.place, self.folder)
            return
        old = [name for name in _pair(self.folder) if name not in new and (self.folder / name).exists()]
        if len(new) + len(old) > 1 and self._exchange():
            return
        committed = self.place.with_suffix(".commit")
        os.rename(self.place, committed)
        for name in old:
            (self.folder / name).unlink()
        _finish(committed, self.folder)

    def _exchange(self) -> bool:
        """The folder's place taken by the new one, with the other files of the old; False where that cannot be."""
        if self.place.parent == self.folder:
            return False
        shutil.copymode(self.folder, self.place)
        others = [entry for entry in self.folder.iterdir() if entry.name not in _pair(self.folder) and entry.is_file()]
        for entry in others:
            with suppress(OSError):  # what cannot be linked is moved afterwards
                os.link(entry, self.place / entry.name, follow_symlinks=False)
        if exchanged(self.place, self.folder):
            return True
        for entry in others:
            (self.place / entry.name).unlink(missing_ok=True)
        return False

    def discard(self) -> None:
        """Remove what was written aside, or, after `commit`, what has been replaced."""
        _discard(self.place, self.folder)


@contextmanager
def replacement(folder: Path) -> Iterator[FolderReplacement]:
    """Nothing stays of what is written aside where the block fails, nor of the folders that were made for it."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    aside = None
    try:
        aside = FolderReplacement(folder)
        yield aside
    except BaseException:
        if aside:
            aside.discard()
        for path in new:
            with suppress(OSError):
                path.rmdir()
        raise
    aside.discard()


def clear_left_behind(folder: Path) -> None:
    """Finish or remove what converters that were killed have left of this data set."""
    pattern = re.compile(rf"\.{re.escape(folder.name)}\.{re.escape(HOST)}-(\d+)\.(tmp|commit)")
    older = re.compile(rf"\.{re.escape(folder.name)}\.(?:inter|item)\.(\d+)\.(tmp)")  # of earlier versions
    for place in {folder.parent, folder}:
        for entry in list(place.iterdir()) if place.is_dir() else []:
            found = pattern.fullmatch(entry.name) or older.fullmatch(entry.name)
            if not found or is_running(int(found[1])):
                continue
            if found[2] == "commit":
                _finish(entry, folder)
            elif entry.is_dir():
                _discard(entry, folder)
            else:
                entry.unlink(missing_ok=True)


def _pair(folder: Path) -> tuple[str, str]:
    return f"{folder.name}.inter", f"{folder.name}.item"


def _beside(folder: Path) -> Path:
    """The parent; or the folder itself where that is mounted or the parent may not be written to."""
    parent = folder.parent
    if folder.is_dir() and (folder.stat().st_dev != parent.stat().st_dev or not os.access(parent, os.W_OK)):
        return folder
    return parent


def _finish(committed: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for entry in sorted(committed.iterdir()):
        os.replace(entry, folder / entry.name)
    committed.rmdir()


def _discard(place: Path, folder: Path) -> None:
    """Remove a folder aside, after moving back what only it holds: folders, and files that came meanwhile."""
    if place.is_dir() and folder.is_dir():
        for entry in place.iterdir():
            if entry.name not in _pair(folder) and not os.path.lexists(folder / entry.name):
                os.rename(entry, folder / entry.name)
    shutil.rmtree(place, ignore_errors=True)
