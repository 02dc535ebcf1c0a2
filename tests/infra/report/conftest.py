"""A small run folder in five languages, with everything a report has to cope with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from arbitrage.infra.report.counts import count_shard
from arbitrage.infra.store.files import Folder
from arbitrage.schema import GRAVEYARD, PROMPTS, ROUTES, candidates_schema, score_fields, table_of

SCORES = score_fields({"length.words": {}, "toxicity.toxicity": {}}, {"language_id.language": {}})
EVIL = '<script>alert("x")</script> | `tick` \u202e **bold**'
TEXTS = {"ar": "مرحبًا", "ja": "こんにちは", "th": "สวัสดี", "tr": "Merhaba", "zh": EVIL}


def row(language: str, teacher: str, **fields: Any) -> dict[str, Any]:
    """One candidate: rejected where it has reasons, failed where it has an error, else chosen."""
    error, reasons = fields.get("error"), fields.get("reasons", [])
    good = not error and not reasons
    made = {
        "candidate_id": f"{language}-{teacher}-{fields.get('sample_index', 0)}",
        "prompt_id": f"p-{language}",
        "language": language,
        "teacher": teacher,
        "sample_index": 0,
        "text": None if error else TEXTS.get(language, "text"),
        "route_probability": 0.5,
        "router": "uniform@1",
        "params_hash": "0",
        "created_at": datetime(2026, 11, 21, tzinfo=UTC),
        "kept": good,
        "reasons": [error] if error else reasons,
        "chosen": good,
    }
    return made | fields


def candidates(rows: list[dict[str, Any]]) -> pa.Table:
    return table_of(rows, candidates_schema(SCORES))


@pytest.fixture
def decided() -> Any:
    """The builders of candidates, for tests that make their own."""

    class Builders:
        row = staticmethod(row)
        table = staticmethod(candidates)

    return Builders


@pytest.fixture
def shard() -> tuple[pa.Table, pa.Table]:
    """Candidates and graveyard: two teachers a language, a rejection twice over, a failure."""
    rows = [row(language, "alpha", **{"length.words": 10.0}) for language in TEXTS]
    twice = ["length.min_words", "toxicity.max_toxicity"]
    rows += [row("ar", "beta", reasons=twice, **{"length.words": 2.0})]
    rows += [row("tr", "beta", error="generate.timeout")]
    rows += [row("zh", "beta", reasons=["length.min_words"], **{"length.words": 4.0})]
    dead = [
        {"kind": "prompt", "language": "th", "stage": "route", "reasons": ["route.no_teacher"]},
        {
            "kind": "prompt",
            "language": None,
            "stage": "prompts",
            "reasons": ["prompts.no_language"],
        },
        {"kind": "candidate", "language": "ar", "stage": "decide", "reasons": twice},
    ]
    return candidates(rows), table_of(dead, GRAVEYARD)


@pytest.fixture
def manifest(shard) -> dict[str, Any]:
    return {
        "run_id": "demo-1",
        "name": "demo",
        "seed": 7,
        "code_version": "0.1.0",
        "teachers": [
            {"name": "alpha", "model": "org/alpha-8b", "precision": "bf16", "backend": "openai"}
        ],
        "router": {"router": "uniform@1", "params": {}, "artefact_sha256": None},
        "filters": {"length": {"filter": "length@2", "params": "h"}},
        "config": {
            "run": {"name": "demo", "samples": 2},
            "teachers": [
                {"name": "alpha", "backend": "openai", "sampling": {"temperature": 0.7}},
                {"name": "beta", "backend": "replay", "languages": ["ar", "tr"]},
            ],
            "filters": {"length": {"min_words": 5, "on_abstain": "keep"}},
            "select": {"objective": "maximize:length.words", "constraints": {}},
        },
        "views": {"preference": {"rows": 3, "files": []}, "sft": {"rows": 5, "files": []}},
        "counts": count_shard(*shard).to_json(),
        "totals": {},
        "started_at": "2026-11-21T03:00:00+00:00",
        "finished_at": "2026-11-21T03:01:00+00:00",
    }


@pytest.fixture
def run(tmp_path, shard) -> Path:
    """The run folder, without a manifest."""
    folder = Folder(tmp_path / "demo-1")
    asked = [
        {
            "prompt_id": f"p-{language}",
            "messages": [{"role": "user", "content": f"soru {text}"}],
            "language": language,
            "source": "s",
        }
        for language, text in TEXTS.items()
    ]
    routes = [
        {
            "prompt_id": f"p-{language}",
            "language": language,
            "router": "uniform@1",
            "teachers": ["alpha", "beta"],
            "probabilities": [0.5, 0.5],
            "drawn": ["alpha", "beta"] if language in {"ar", "tr", "zh"} else ["alpha"],
            "propensities": [0.5, 0.5],
            "samples": 1,
        }
        for language in TEXTS
    ]
    folder.write_table("prompts/part-00000.arrow", table_of(asked, PROMPTS))
    folder.write_table("routes/part-00000.arrow", table_of(routes, ROUTES))
    folder.write_table("candidates/part-00000.arrow", shard[0])
    folder.write_table("graveyard/part-00000.arrow", shard[1])
    return folder.root
