"""Names of the files in a run folder. One place, so that no writer and reader can disagree."""

from __future__ import annotations

MANIFEST = "manifest.json"
CARD = "README.md"
REPORT = "report.html"
VIEWS = "views"
PARTS = ("prompts", "routes", "candidates", "graveyard")

# Everything below it belongs to an unfinished run and is removed once the manifest is written,
# unless a larger budget could ask for more.
WORK = "unfinished"
STARTED = f"{WORK}/run.json"
INPUT = f"{WORK}/input.json"
MOMENTS = f"{WORK}/moments.json"
POOL = f"{WORK}/pool.json"
LIMITS = f"{WORK}/limits.json"
USAGE = f"{WORK}/usage"
PLANNED = f"{WORK}/planned.json"
PARENT = f"{WORK}/parent.json"
JOURNALS = f"{WORK}/journal"
ROUNDS = f"{WORK}/rounds"
COMMITTED = f"{WORK}/committed"
SKETCHES = f"{WORK}/sketches"
MATCHED = f"{WORK}/matched"
ALL_MATCHED = f"{WORK}/matched.json"
LEARNED = f"{WORK}/learned"
DEATHS = f"{WORK}/deaths"
# There while what a larger budget changes is made unfinished.
REOPENING = f"{WORK}/reopening.json"
LOCKS = f"{WORK}/locks"
# Tells the processes of a run on other machines to save what they have and end.
STOP = f"{WORK}/stop"
LOCK = ".lock"
HOLDER = ".lock.json"
STAGED = ".staged"
# What servers answered about shards in which they left a question open, for `score_again`.
UNANSWERED = ".unanswered"
# Folders whose files are appended to; all others are written whole.
GROWING = (JOURNALS, USAGE, f"{WORK}/answers")


def part(kind: str, shard: int) -> str:
    """File of one shard: `prompts/part-00000.arrow`."""
    return f"{kind}/part-{shard:05d}.arrow"


def staged(kind: str, shard: int, extension: str = "arrow") -> str:
    """An intermediate file of an unfinished run: `unfinished/scored/00000.arrow`."""
    return f"{WORK}/{kind}/{shard:05d}.{extension}"


def journal(shard: int) -> str:
    """Folder of a shard's journal segments."""
    return f"{JOURNALS}/{shard:05d}"


def answers(shard: int) -> str:
    """Folder of what servers answered about a shard's candidates."""
    return f"{WORK}/answers/{shard:05d}"


def unanswered(shard: int) -> str:
    """The same of a finished run, where a server did not answer every question."""
    return f"{UNANSWERED}/{shard:05d}"


def matched(name: str, shard: int) -> str:
    """What one filter over the whole run says of a shard."""
    return f"{MATCHED}/{name}/{shard:05d}.arrow"


def sketch_part(shard: int) -> str:
    """Name of a shard among the sketches."""
    return f"{shard:05d}"
