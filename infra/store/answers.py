"""What servers answered about the candidates of one shard, kept until the shard is scored."""

from __future__ import annotations

import logging
import threading
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from arbitrage.answers import Use
from arbitrage.infra.interrupt import raise_if_stopping
from arbitrage.infra.store.files import cannot_write, write_all

if TYPE_CHECKING:  # it imports the store in its turn
    from arbitrage.infra.generation.purse import Purse

log = logging.getLogger(__name__)

SUFFIX = ".lines"


class AnswerJournal:
    """Answers in lines of checksum, key and answer; one segment a process. Thread-safe.

    A line is handed to the system before `keep` returns: `kill -9` of the process loses none. It
    is not fsynced, so a power cut may lose the last ones, which are then asked again. What comes
    after `close`, to a question that was out when scoring broke off, is kept too.

    Args:
        folder: made with the first answer; whoever has committed the scores removes it.
        purse: pays for the questions; None: they are not counted.
    """

    def __init__(self, folder: Path, purse: Purse | None = None) -> None:
        self._folder = folder
        self._purse = purse
        self._lock = threading.Lock()
        self._file: FileIO | None = None
        self._closed = False
        self._known: dict[str, bytes] | None = None

    def known(self, key: str) -> bytes | None:
        """As `Answers.known`; InterruptedRunError once the run was asked to stop."""
        raise_if_stopping()
        with self._lock:
            return self._read().get(key)

    def keep(self, key: str, answer: bytes) -> None:
        """As `Answers.keep`. The answer is one line, as JSON without line breaks is."""
        content = key.encode() + b" " + answer
        line = xxhash.xxh3_64_hexdigest(content).encode() + b" " + content + b"\n"
        with self._lock:
            self._read()[key] = answer
            try:
                if self._file is None:
                    self._file = self._open()
                write_all(self._file, line)
            except OSError as error:
                self._close()  # a line behind a torn one would be torn with it
                raise cannot_write(self._folder, error) from error
            if self._closed:
                self._close()

    def afford(self, asker: str, most: Use) -> bool:
        """As `Answers.afford`."""
        return self._purse is None or self._purse.afford(asker, most)

    def used(self, asker: str, most: Use, used: Use) -> None:
        """As `Answers.used`."""
        if self._purse is not None:
            self._purse.used(asker, most, used)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> FileIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        number = len(list(self._folder.glob(f"*{SUFFIX}")))
        while True:
            try:
                return FileIO(self._folder / f"{number:05d}{SUFFIX}", "x")
            except FileExistsError:  # another journal's, made since: late answers have their own
                number += 1

    def _read(self) -> dict[str, bytes]:
        if self._known is None:
            self._known = {}
            for path in sorted(self._folder.glob(f"*{SUFFIX}")):
                self._take_in(path)
        return self._known

    def _take_in(self, path: Path) -> None:
        assert self._known is not None
        damaged = 0
        for line in path.read_bytes().split(b"\n"):
            checksum, _, content = line.partition(b" ")
            if checksum == xxhash.xxh3_64_hexdigest(content).encode():
                key, _, answer = content.partition(b" ")
                self._known[key.decode()] = answer
            else:
                damaged += bool(line)
        if damaged:
            log.warning("%s: %d torn or damaged lines; those are asked again", path.name, damaged)
