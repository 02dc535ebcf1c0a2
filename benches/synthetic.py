"""Data for the benches: any number of prompts and recorded answers in 15 languages.

Answers are put together from pieces of real recorded answers of the same language, drawn with a
fixed seed, so they have the scripts, word lengths and entropy of real text, and the same count
gives the same bytes on every machine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from arbitrage.filters.base import Batch, Filter

QUICKSTART = Path(__file__).resolve().parents[1] / "examples" / "quickstart"
_TEXT_BYTES = (500, 2000)
_SEED = 20251121
_CHUNK = 5_000
# Piece length: words where words are set apart, else characters.
_WORDS, _CHARACTERS = 5, 14

PROMPTS = pa.schema([(name, pa.string()) for name in ("prompt_id", "prompt", "language")])
RECORDINGS = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("teacher", pa.string()),
        ("completion", pa.string()),
        ("sample_index", pa.int64()),
        ("completion_tokens", pa.int32()),
    ]
)


class Corpus:
    """Recorded prompts, and pieces of the recorded answers to them by language.

    Args:
        folder: holds prompts.parquet (prompt_id, prompt, language) and a table of completions
            (prompt_id, teacher, completion): examples/quickstart, or the benchmark it is cut from.
        text_bytes: an answer's UTF-8 length is drawn evenly from this range.
    """

    def __init__(
        self, folder: Path = QUICKSTART, text_bytes: tuple[int, int] = (500, 2000)
    ) -> None:
        self.text_bytes = text_bytes
        prompts = pq.read_table(folder / "prompts.parquet").select(PROMPTS.names)
        self.prompts: list[dict[str, str]] = prompts.to_pylist()
        language = {row["prompt_id"]: row["language"] for row in self.prompts}
        pieces: defaultdict[str, list[str]] = defaultdict(list)
        for row in pq.read_table(recordings_file(folder)).to_pylist():
            if row["completion"] and row["prompt_id"] in language:
                pieces[language[row["prompt_id"]]] += _pieces(row["completion"])
        self.pieces = {tag: np.array(some, dtype=object) for tag, some in pieces.items()}

    def answers(self, languages: list[str], generator: np.random.Generator) -> list[str]:
        """One answer a language tag."""
        return [self._answer(tag, generator) for tag in languages]

    def _answer(self, tag: str, generator: np.random.Generator) -> str:
        pieces = self.pieces[tag]
        wanted = int(generator.integers(*self.text_bytes))
        text = ""
        while len(data := text.encode()) < wanted:
            text += "".join(pieces[generator.integers(len(pieces), size=24)])
        return data[:wanted].decode(errors="ignore")

    def write_prompts(self, path: Path, count: int) -> None:
        """`count` prompts as parquet: the recorded ones over and over, with new ids."""
        with pq.ParquetWriter(path, PROMPTS, compression="zstd") as writer:
            for start, end in _chunks(count):
                rows = [
                    {**self.prompts[i % len(self.prompts)], "prompt_id": prompt_id(i)}
                    for i in range(start, end)
                ]
                writer.write_table(pa.Table.from_pylist(rows, PROMPTS))

    def write_recordings(self, path: Path, count: int, teachers: list[str], samples: int) -> int:
        """Answers of every teacher to the first `count` prompts, as parquet; bytes of text."""
        generator, size = np.random.default_rng(_SEED), 0
        with pq.ParquetWriter(path, RECORDINGS, compression="zstd") as writer:
            for start, end in _chunks(count):
                keys = [
                    (i, teacher, sample)
                    for i in range(start, end)
                    for teacher in teachers
                    for sample in range(samples)
                ]
                tags = [self.prompts[i % len(self.prompts)]["language"] for i, _, _ in keys]
                texts = self.answers(tags, generator)
                columns = {
                    "prompt_id": [prompt_id(i) for i, _, _ in keys],
                    "teacher": [teacher for _, teacher, _ in keys],
                    "completion": texts,
                    "sample_index": [sample for _, _, sample in keys],
                    "completion_tokens": [len(text) // 4 for text in texts],
                }
                size += sum(len(text.encode()) for text in texts)
                writer.write_table(pa.Table.from_pydict(columns, RECORDINGS))
        return size


def prompt_id(number: int) -> str:
    return f"bench-{number:08d}"


def recordings_file(folder: Path) -> Path:
    """The table of completions in a folder of recorded data, under either of its names."""
    names = ("recordings.parquet", "completions.parquet")
    return next(folder / name for name in names if (folder / name).exists())


def absent(folder: Path | None) -> str | None:
    """Why recorded data cannot be used, or None where it can."""
    if folder is None:
        return "recorded data: skipped, no --lcb DIR given."
    if not (folder / "prompts.parquet").exists():
        return f"recorded data: skipped, {folder} has no prompts.parquet."
    return None


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK))


def _pieces(text: str) -> list[str]:
    words = text.split()
    if len(text) / max(1, len(words)) < 20:
        return [" ".join(words[i : i + _WORDS]) + " " for i in range(0, len(words), _WORDS)]
    return [text[i : i + _CHARACTERS] for i in range(0, len(text), _CHARACTERS)]


def recorded(folder: Path, most: int) -> tuple[list[str], list[str]]:
    """Texts and their wanted languages: answers that are not empty, evenly thinned to `most`."""
    prompts = pq.read_table(folder / "prompts.parquet").to_pylist()
    language = {row["prompt_id"]: row["language"] for row in prompts}
    rows = [
        (row["completion"], language[row["prompt_id"]])
        for row in pq.read_table(recordings_file(folder)).to_pylist()
        if row["completion"] and row["prompt_id"] in language
    ]
    rows = rows[:: max(1, len(rows) // most)][:most]
    return [text for text, _ in rows], [tag for _, tag in rows]


def batches(texts: list[str], languages: list[str], rows: int = 4096) -> list[Batch]:
    """Fresh batches, none of them cut into words yet."""
    starts = range(0, len(texts), rows)
    return [
        Batch(
            texts[start : start + rows],
            languages[start : start + rows],
            [None] * len(texts[start : start + rows]),
            groups=[at // 4 for at in range(len(texts[start : start + rows]))],
        )
        for start in starts
    ]


def score_all(scorers: list[Filter], some: list[Batch]) -> None:
    for batch in some:
        for scorer in scorers:
            scorer.score(batch)
