"""What other processes write into a mirrored run folder, as the mirror hears of it."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.infra.store import layout
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.s3.events import Event
from arbitrage.infra.store.s3.notes import Notes, NotesOfShard, noted
from arbitrage.infra.store.s3.outbox import Outbox
from arbitrage.infra.store.watch import watched

SCORED = layout.staged("scored", 3)
ROUTES = layout.part("routes", 3)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "run")
    made.make()
    return made


@pytest.fixture
def outbox(folder: Folder) -> Outbox:
    box = Outbox(folder.root)
    box.open()
    return box


def heard(outbox: Outbox) -> list[tuple[str, bytes | None]]:
    """What is taken out, with the content that each file had then."""
    return [(event.name, event.copy and event.copy.read_bytes()) for event in outbox.take()]


def test_another_process_tells_what_it_writes_in_order_and_as_it_was(
    folder: Folder, outbox: Outbox
) -> None:
    outbox.given(3)
    assert outbox.take() == []  # its task waits for a node
    with noted(folder, 3, waited=False):
        folder.write_bytes(ROUTES, b"1")
        assert heard(outbox) == [(ROUTES, b"1")]
        folder.write_bytes(SCORED, b"2")
        folder.write_bytes(SCORED, b"3")
        folder.remove(layout.journal(3))
        folder.write_bytes(layout.STOP, b"")
    folder.remove(SCORED)  # nobody's business any more
    assert heard(outbox) == [(SCORED, b"2"), (SCORED, b"3"), (layout.journal(3), None)]
    assert outbox.take() == []


def test_what_was_not_given_is_not_heard_of_before_it_is(folder: Folder, outbox: Outbox) -> None:
    with noted(folder, 3, waited=False):
        folder.write_bytes(ROUTES, b"1")
    assert outbox.take() == []
    outbox.given(3)
    assert heard(outbox) == [(ROUTES, b"1")]


def test_a_line_that_is_being_written_is_heard_once_it_is_whole(
    folder: Folder, outbox: Outbox
) -> None:
    outbox.given(3)
    notes = Notes(folder.root, 3)
    folder.write_bytes(ROUTES, b"1")
    notes.written(ROUTES)
    (path,) = outbox.folder.glob("*.notes")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert outbox.take() == []
    path.write_bytes(whole)
    assert heard(outbox) == [(ROUTES, b"1")]


def test_who_takes_a_shard_over_tells_what_the_dead_had_no_time_to_tell(
    folder: Folder, outbox: Outbox
) -> None:
    outbox.given(3)
    Notes(folder.root, 3)  # it dies between a file and its line
    folder.write_bytes(ROUTES, b"1")
    folder.write_bytes(layout.staged("moments", 3, "json"), b"2")
    folder.write_bytes(f"{layout.SKETCHES}/{layout.sketch_part(3)}/keys.arrow", b"3")
    folder.write_bytes(f"{layout.journal(3)}/00000.frames", b"grows")
    folder.write_bytes(f"{layout.answers(4)}/00000.lines", b"grows")
    folder.write_bytes(layout.part("routes", 4), b"another's")
    assert outbox.take() == []
    with noted(folder, 3, waited=False):
        folder.write_bytes(SCORED, b"4")
    told = heard(outbox)
    assert sorted(told[:3]) == [
        (ROUTES, b"1"),
        (layout.staged("moments", 3, "json"), b"2"),
        (f"{layout.SKETCHES}/{layout.sketch_part(3)}/keys.arrow", b"3"),
    ]
    assert told[3:] == [(layout.answers(3), None), (SCORED, b"4")]


def test_who_waited_for_a_shard_tells_what_lies_there_though_no_notes_do(
    folder: Folder, outbox: Outbox
) -> None:
    folder.write_bytes(ROUTES, b"1")
    folder.write_bytes(layout.STARTED, b"{}")
    outbox.given(3)
    with noted(folder, 3, waited=False):
        pass
    assert outbox.take() == []  # told at the start of the run, or by who was whole
    outbox.clear()
    outbox.done(3)
    outbox.take()
    outbox.given(3)
    with noted(folder, 3, waited=True):
        pass
    assert heard(outbox)[0] == (ROUTES, b"1")


def test_of_a_shard_that_is_done_everything_is_heard_and_its_notes_go(
    folder: Folder, outbox: Outbox
) -> None:
    outbox.given(3)
    for content in (b"1", b"2"):
        with noted(folder, 3, waited=False):
            folder.write_bytes(SCORED, content)
    outbox.done(3)
    assert [content for _, content in heard(outbox) if content] == [b"1", b"1", b"2"]
    assert list(outbox.folder.glob("*.notes")) == []
    assert outbox.take() == []


class World:
    """Writes as a run does. Each file holds the names of those it needs: what is written here
    before a shard is given is needed there, and shards that are done are needed here.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder, self.outbox = folder, Outbox(folder.root)
        folder.make()
        self.outbox.open()
        self.written = 0
        self.here: set[str] = set()
        self.found: dict[str, bytes] = {}
        self.shard = -1
        self.next()

    def step(self, name: str) -> None:
        getattr(self, name)()

    def next(self) -> None:
        if self.shard >= 0:
            self.here |= self.there
            self.outbox.done(self.shard)
        self.shard += 1
        self.there = set(self.here)
        self.outbox.given(self.shard)

    def work_here(self) -> None:
        with watched(self.folder.root, self.outbox):
            self._write(f"{layout.WORK}/here/{self.written}", self.here)

    def work_there(self) -> None:
        with noted(self.folder, self.shard, waited=False):
            self._write(layout.staged(f"there{self.written}", self.shard), self.there)

    def die_there(self) -> None:
        """Between a file and its line."""
        self.work_there()
        noted_last = sorted(self.outbox.folder.glob(f"shard-{self.shard:05d}-*.notes"))[-1]
        noted_last.write_bytes(b"".join(noted_last.read_bytes().splitlines(keepends=True)[:-1]))
        with noted(self.folder, self.shard, waited=False):
            pass

    def take(self) -> None:
        for event in self.outbox.take():
            if event.copy is not None:
                self.found[event.name] = event.copy.read_bytes()
        for name, needs in self.found.items():
            assert set(needs.decode().split()) <= set(self.found), f"{name} lacks something"

    def _write(self, name: str, needs: set[str]) -> None:
        self.written += 1
        self.folder.write_bytes(name, " ".join(sorted(needs)).encode())
        needs.add(name)


STEPS = st.sampled_from(["work_here", "work_there", "die_there", "next", "take"])


@settings(max_examples=80, deadline=None)
@given(st.lists(STEPS, max_size=25), st.data())
def test_whatever_is_taken_out_needs_nothing_that_it_lacks(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], data: st.DataObject
) -> None:
    world = World(Folder(tmp_path_factory.mktemp("f") / "run"))
    read = NotesOfShard.read

    def interrupted(notes: NotesOfShard) -> list[Event]:
        """Others go on while it is being taken out."""
        for step in data.draw(st.lists(STEPS.filter(lambda name: name != "take"), max_size=3)):
            world.step(step)
        return read(notes)

    for step in steps:
        with patch.object(NotesOfShard, "read", interrupted):
            world.step(step)
    world.take()
    assert len(world.found) == world.written
