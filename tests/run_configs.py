"""Small whole runs for tests: prompts in ten languages, recordings, configs, child processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from arbitrage.config import RunConfig

# Right-to-left, no spaces between words, combining marks, capitals that fold differently, emoji.
TEXTS = {
    "ar": "اكتب جملة قصيرة عن البحر الأبيض المتوسط في الشتاء من فضلك",
    "en": "Write one short sentence about the sea in winter, please 🌊",
    "hi": "कृपया सर्दियों में समुद्र के बारे में एक छोटा वाक्य लिखिए",
    "ja": "冬の海について短い文章をひとつ書いてください",
    "ko": "겨울 바다에 대해 짧은 문장을 하나 써 주세요",
    "ru": "Напишите, пожалуйста, одно короткое предложение о зимнем море",
    "th": "กรุณาเขียนประโยคสั้น ๆ เกี่ยวกับทะเลในฤดูหนาว",
    "tr": "Lütfen kışın İstanbul'daki deniz hakkında kısa bir cümle yaz",
    "vi": "Hãy viết một câu ngắn về biển vào mùa đông",
    "zh": "请写一个关于冬天的大海的短句",
}
TEACHERS = ("alpha", "beta")
FILTERS: dict[str, dict[str, Any]] = {
    "language_id": {"min_match": 1},
    "length": {"min_words": 3},
    "lexical_diversity": {"shortest_tokens": 5},
}


def prompt_rows(per_language: int = 3) -> list[dict[str, str]]:
    """`per_language` prompts of each language, languages taking turns."""
    return [
        {"prompt_id": f"{tag}-{i}", "prompt": f"{text} {i}", "language": tag}
        for i in range(per_language)
        for tag, text in TEXTS.items()
    ]


def write_prompts(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    return path


def write_recordings(
    path: Path,
    rows: Iterable[Mapping[str, Any]],
    *,
    samples: int = 1,
    completion: Callable[[str, str, int], str | None] | None = None,
) -> Path:
    """What each teacher said: `alpha` in the prompt's language, `beta` always in Turkish."""

    def said(language: str, teacher: str, sample: int) -> str | None:
        tag = language if teacher == "alpha" else "tr"
        return " ".join([TEXTS[tag]] * (1 + sample))

    recorded = [
        {
            "prompt_id": row["prompt_id"],
            "teacher": teacher,
            "sample_index": sample,
            "completion": (completion or said)(row["language"], teacher, sample),
        }
        for row in rows
        for teacher in TEACHERS
        for sample in range(samples)
    ]
    kinds = [("prompt_id", pa.string()), ("teacher", pa.string())]
    kinds += [("sample_index", pa.int16()), ("completion", pa.string())]
    pq.write_table(pa.Table.from_pylist(recorded, schema=pa.schema(kinds)), path)
    return path


def replay_data(folder: Path, *, samples: int = 1, per_language: int = 3) -> dict[str, Any]:
    """A config of two recorded teachers, both asked for every prompt; its files lie in `folder`."""
    rows = prompt_rows(per_language)
    source = write_prompts(folder / "prompts.parquet", rows)
    recordings = write_recordings(folder / "recordings.parquet", rows, samples=samples)
    return {
        "run": {
            "name": "small",
            "seed": 7,
            "output": str(folder / "runs"),
            "shard_size": 7,
            "samples": samples,
        },
        "prompts": {"source": str(source)},
        "teachers": [
            {"name": name, "backend": "replay", "recordings": str(recordings)} for name in TEACHERS
        ],
        "router": {"kind": "uniform", "teachers_per_prompt": 2},
        "filters": FILTERS,
        "select": {"objective": "maximize:lexical_diversity.mtld", "per_prompt": 1},
        "views": {"sft": {}, "preference": {"include_filtered": True}},
    }


def served_data(folder: Path, base_url: str, *, prompts: int = 60, **run: Any) -> dict[str, Any]:
    """A config of one teacher behind HTTP, asked four times for every prompt."""
    rows = prompt_rows(-(-prompts // len(TEXTS)))[:prompts]
    source = write_prompts(folder / "prompts.parquet", rows)
    teacher = {"name": "served", "backend": "openai", "model": "stand-in", "base_url": base_url}
    return {
        "run": {
            "name": "served",
            "output": str(folder / "runs"),
            "shard_size": 10,
            "samples": 1,
            **run,
        },
        "prompts": {"source": str(source)},
        "teachers": [{**teacher, "max_concurrency": 4, "sampling": {"max_tokens": 12}}],
        "router": {"kind": "single", "teacher": "served"},
        "filters": {"length": {"min_words": 2}},
        "select": {"objective": "maximize:length.words"},
        "views": {"sft": {}},
    }


def changed(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of config data with dotted keys set, as `--set` does; None drops the key."""
    copy: dict[str, Any] = orjson.loads(orjson.dumps(data))
    for key, value in changes.items():
        place: Any = copy
        *path, last = key.split(".")
        for part in path:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return copy


def parsed(data: Mapping[str, Any], **changes: Any) -> RunConfig:
    """The config as the flow takes it; `run__seed=3` sets run.seed."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return RunConfig.model_validate(changed(data, dotted))


def write_toml(path: Path, data: Mapping[str, Any]) -> Path:
    """Config data as a TOML file."""
    lines: list[str] = []
    for section, values in data.items():
        if isinstance(values, list):
            for item in values:
                lines += [f"[[{section}]]", *_toml_lines(item)]
        elif values and all(isinstance(value, dict) for value in values.values()):
            for name, item in values.items():
                lines += [f"[{section}.{name}]", *_toml_lines(item)]
        else:
            lines += [f"[{section}]", *_toml_lines(values)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _toml_lines(values: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in values.items()]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f'"{key}" = {_toml(item)}' for key, item in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return orjson.dumps(value).decode()


# Rows to compare

VOLATILE = ("created_at", "latency_ms")


def stable_rows(run: Path | str) -> dict[str, list[dict[str, Any]]]:
    """Every row of a finished run, less what a clock says, in an order of its own."""
    from arbitrage.infra.store import open_run

    opened = open_run(run)
    rows: dict[str, list[dict[str, Any]]] = {}
    for kind in ("prompts", "routes", "candidates", "graveyard"):
        frame: pl.DataFrame = getattr(opened, kind).collect()
        rows[kind] = _ordered(frame.drop(VOLATILE, strict=False))
    for name in opened.manifest["views"]:
        rows[name] = _ordered(opened.view(name).collect())
    return rows


def _ordered(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return sorted(frame.to_dicts(), key=lambda row: orjson.dumps(row, default=str))


# A run without Prefect, for tests of the store: the same pieces in the same order


def run_steps(config: RunConfig, run_id: str = "done", *, upto: str = "published") -> Any:
    """Take a run through its steps in this process, and stop after one of them; where it is.

    Args:
        upto: "input", "routed", "generated", "scored", "matched", "merged", "decided", "viewed" or
            "published".
    """
    from contextlib import closing

    from arbitrage.infra.interrupt import stop
    from arbitrage.infra.store.begin import open_run_folder
    from arbitrage.tasks.decide import decide_candidates, find_limits, merge_moments
    from arbitrage.tasks.generate import generate_candidates, open_teachers
    from arbitrage.tasks.match import match_candidates
    from arbitrage.tasks.parent import remember_parent
    from arbitrage.tasks.prompts import load_prompts
    from arbitrage.tasks.publish import publish_run
    from arbitrage.tasks.route import route_prompts
    from arbitrage.tasks.score import score_candidates
    from arbitrage.tasks.views import write_view

    stop.clear()
    opened = open_run_folder(config, run_id)
    uri = str(opened.path)
    with closing(opened), open_teachers(uri):
        shards = load_prompts.fn(uri)
        remember_parent(uri, shards)
        steps: list[tuple[str, Callable[[], Any]]] = [
            ("routed", lambda: [route_prompts(uri, shard) for shard in range(shards)]),
            ("generated", lambda: [generate_candidates(uri, shard) for shard in range(shards)]),
            ("scored", lambda: [score_candidates(uri, shard) for shard in range(shards)]),
            ("matched", lambda: match_candidates.fn(uri, shards)),
            ("merged", lambda: merge_moments.fn(uri, shards)),
            ("limited", lambda: find_limits.fn(uri, shards)),
            ("decided", lambda: decide_candidates.fn(uri, list(range(shards)))),
        ]
        for name, step in steps:
            if upto == "input":
                return opened.place or opened.path
            step()
            if upto == name:
                return opened.place or opened.path
        views = {name: write_view.fn(uri, name, shards) for name in config.views}
        if upto != "viewed":
            publish_run.fn(uri, shards, views)
            opened.publish()
    return opened.place or opened.path


# Child processes

ENTRY = (sys.executable, "-m", "arbitrage.flows.cli")
SOURCES = Path(__file__).resolve().parents[1] / "src"


def environment(api_url: str | None = None, **more: str) -> dict[str, str]:
    """The environment of a child: this one's Prefect home, and an API unless it starts its own."""
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    inherited |= {"PYTHONPATH": str(SOURCES), "PYTHONWARNINGS": "", **more}
    inherited.pop("PREFECT_LOGGING_LEVEL", None)
    return inherited | ({"PREFECT_API_URL": api_url} if api_url else {})


def start(
    arguments: Sequence[str | Path], folder: Path, env: Mapping[str, str], **more: Any
) -> subprocess.Popen[str]:
    """`arbitrage ARGUMENTS` as the leader of a process group of its own."""
    return subprocess.Popen(
        [*ENTRY, *map(str, arguments)],
        cwd=folder,
        env=dict(env),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **more,
    )


def finish(process: subprocess.Popen[str], timeout_s: float = 240) -> tuple[int, str, str]:
    """Exit code, standard output and standard error; the whole group is killed when time is up."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"still running after {timeout_s} s:\n{out}\n{err}") from None
    return process.returncode, out, err


def end_all(children: list[subprocess.Popen[str]]) -> None:
    """Kill what still runs of them, each with its group, and forget them."""
    while children:
        child = children.pop()
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        if child.stdout is not None and not child.stdout.closed:
            child.communicate()


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Poll until something has happened in the run folder; fails where the child ends before."""
    deadline = time.monotonic() + 240
    while not happened():
        if process.poll() is not None:
            raise AssertionError(f"the run ended too early: {process.communicate()}")
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
