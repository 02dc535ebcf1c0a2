"""What a manifest says of a run, in the order a reader wants; absent keys are left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from arbitrage.infra.report.counts import Counts
from arbitrage.infra.store import layout
from arbitrage.infra.views.summary import total


@dataclass(frozen=True, slots=True)
class FilterFact:
    """One filter of the run: `name@version`, its thresholds and its other settings."""

    name: str
    identity: str
    thresholds: Mapping[str, Any]
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TeacherFact:
    """One teacher of the run, as a reader knows it."""

    name: str
    model: str
    backend: str
    precision: str
    sampling: Mapping[str, Any]
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeldView:
    """What one view holds, by language and in all ("all", where there are several)."""

    name: str
    settings: Mapping[str, Any]
    languages: Mapping[str, Mapping[str, Any]]
    dropped: Mapping[str, int]

    @property
    def whole(self) -> Mapping[str, Any]:
        """All languages together."""
        return self.languages.get("all") or next(iter(self.languages.values()))


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run as its manifest describes it."""

    name: str
    run_id: str
    seed: str
    code_version: str
    started_at: str
    finished_at: str
    source: str
    router: str
    router_settings: Mapping[str, Any]
    samples: int
    teachers: tuple[TeacherFact, ...]
    filters: tuple[FilterFact, ...]
    selection: Mapping[str, Any]
    views: Mapping[str, int]
    held: tuple[HeldView, ...]
    totals: Mapping[str, Any]
    counts: Counts
    parent: Mapping[str, Any]


def run_facts(manifest: Mapping[str, Any], counts: Counts | None = None) -> RunFacts:
    """The facts of a manifest; `counts` in place of its own, for a run whose manifest has none."""
    config = _section(manifest, "config")
    run = _section(config, "run")
    router = _section(config, "router")
    return RunFacts(
        name=str(manifest.get("name") or run.get("name") or "run"),
        run_id=str(manifest.get("run_id", "")),
        seed=str(manifest.get("seed", run.get("seed", ""))),
        code_version=str(manifest.get("code_version", "")),
        started_at=str(manifest.get("started_at") or ""),
        finished_at=str(manifest.get("finished_at") or ""),
        source=_sources(_section(config, "prompts").get("source", "")),
        router=_router(manifest.get("router"), router),
        router_settings=_without(router, "kind"),
        samples=int(run.get("samples", 1)),
        teachers=tuple(_teachers(manifest, config)),
        filters=tuple(_filters(manifest, config)),
        selection={k: v for k, v in _section(config, "select").items() if v not in (None, {}, [])},
        views=_views(_section(manifest, "views")),
        held=tuple(_held(_section(manifest, "views"), _section(config, "views"))),
        totals=_section(manifest, "totals"),
        counts=counts if counts is not None else Counts.from_json(manifest.get("counts", [])),
        parent=_section(manifest, "parent"),
    )


def read_facts(run: Path) -> Mapping[str, Any]:
    """The manifest of a run folder as it lies there, or an empty one where it has none yet."""
    path = Path(run) / layout.MANIFEST
    if not path.is_file():
        return {}
    content: Mapping[str, Any] = orjson.loads(path.read_bytes())
    return content


def shown(settings: Mapping[str, Any]) -> str:
    """Settings on one line, the inner ones with dots.

    >>> shown({"temperature": 0.7, "bounds": {"min": 1}})
    'temperature = 0.7, bounds.min = 1'
    """
    return ", ".join(f"{key} = {value}" for key, value in _flat(settings))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        elif value not in (None, [], {}):
            found.append((f"{prefix}{key}", value))
    return found


def _teachers(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> list[TeacherFact]:
    configured = {item["name"]: item for item in config.get("teachers", [])}
    identities = {item["name"]: item for item in manifest.get("teachers", [])}
    facts = []
    for name in [*configured, *(name for name in identities if name not in configured)]:
        known = {**configured.get(name, {}), **identities.get(name, {})}
        facts.append(
            TeacherFact(
                name=name,
                model=str(known.get("model") or name),
                backend=str(known.get("backend") or ""),
                precision=str(known.get("precision") or ""),
                sampling=dict(known.get("sampling") or {}),
                languages=tuple(known.get("languages") or ()),
            )
        )
    return facts


def _filters(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> list[FilterFact]:
    identities = _section(manifest, "filters")
    configured = _section(config, "filters")
    facts = []
    for name in configured or identities:
        values = configured.get(name, {})
        identity = identities.get(name, name)
        if isinstance(identity, Mapping):
            identity = identity.get("filter", name)
        is_bound = {key: key.startswith(("min_", "max_")) for key in values}
        facts.append(
            FilterFact(
                name=name,
                identity=str(identity),
                thresholds={key: value for key, value in values.items() if is_bound[key]},
                settings={key: value for key, value in values.items() if not is_bound[key]},
            )
        )
    return facts


def _router(identity: Any, section: Mapping[str, Any]) -> str:
    if isinstance(identity, Mapping):
        identity = identity.get("router") or identity.get("identity")
    return str(identity or section.get("kind") or "")


def _sources(source: Any) -> str:
    return ", ".join(map(str, source)) if isinstance(source, list) else str(source)


def _views(views: Mapping[str, Any]) -> dict[str, int]:
    """Rows by view, sft first: it is the one nearly everybody wants, so the card's default."""
    return {
        name: _rows(views[name]) for name in sorted(views, key=lambda name: (name != "sft", name))
    }


def _held(views: Mapping[str, Any], configured: Mapping[str, Any]) -> Iterator[HeldView]:
    """The views that counted what they hold."""
    for name in _views(views):
        view = _section(views, name)
        languages = dict(_section(view, "summary"))
        if len(languages) > 1:
            languages["all"] = total(languages)
        if languages:
            dropped = {rule: sum(of.values()) for rule, of in _section(view, "dropped").items()}
            yield HeldView(name, _section(configured, name), languages, dropped)


def share(part: float, whole: float) -> str:
    """A part of a whole in percent.

    >>> share(1, 3), share(1, 0)
    ('33 %', '–')
    """
    return f"{100 * part / whole:.0f} %" if whole else "–"


def _rows(view: Any) -> int:
    return int(view.get("rows", 0)) if isinstance(view, Mapping) else int(view)


def _section(mapping: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = mapping.get(key)
    return section if isinstance(section, Mapping) else {}


def _without(section: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    return {key: value for key, value in section.items() if key not in keys}
