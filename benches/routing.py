"""Routers compared on recorded rewards: the same folds for all, with paired 95 % intervals.

--data DIR holds the tables as their README says: wmt24/esa.parquet, wmt25/rewards.parquet,
router/routerdc.parquet, router/llmrouter.parquet, lcb/prompts.parquet and lcb/completions.parquet.

Boards, and what is kept apart in the five folds:
- wmt24: human scores of translations, by document; the domain is the task.
- wmt25, wmt25-small: an LLM judge's scores of documents, no text, by document; the domain is the
  task. Small: the seven teachers up to 12B but Gemma-3-12B, which leads them everywhere.
- routerdc, llmrouter: share right, by prompt (no prompt stands twice). With -named, the data set of
  each prompt in the fit is known; of those that are routed the text alone.
- lcb: cross-lingual prompts; reward 1 where every judged line is in the language asked for and no
  English word is in the answer, by this package's filter; 0 where no line can be judged (an empty
  answer, say). Four folds by task: the last number of the prompt's id modulo 4, so that a task is
  never in fit and test in two languages. lcb-easy splits the same prompts at random: the same task
  in another language is in the fit, and what is gained there beyond lcb is an illusion. So is most
  of lcb's own gain: an instruction stands under up to three numbers (benches/instructions.py), and
  lcb-instruction keeps these together, in five folds.
- lcb-weak, lcb-weak-easy: without command-r-plus and gpt-3.5-turbo, which lead.
- lcb-ten (only where asked for): the same prompts and all ten models that the benchmark's own
  repository records, outputs/*.csv of github.com/for-ai/language-confusion at 0cfdbb4, put into
  DIR/lcb/outputs. lcb-ten-instruction splits them by instruction.

--embeddings e5 adds the learned router with embeddings beside words, on boards with text.

Gap closed is the share of the way from fixed to oracle; the oracle chooses by the very reward it is
scored with and is out of reach where rewards are noisy (wmt24 above all: one rating a segment).
Time to fit includes what cross-validation inside the fit costs; to route, features included.

Example: python benches/routing.py --data ../data --board lcb --heads
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import measured
import numpy as np
import polars as pl
from instructions import instructions

from arbitrage.filters.base import Batch
from arbitrage.filters.language_confusion import LanguageConfusion, LanguageConfusionParams
from arbitrage.routers.evaluation import FOLDS, cross_validated, summarised
from arbitrage.routers.folds import grouped_folds
from arbitrage.routers.meaning import Meaning, meaning_of
from arbitrage.routers.policies import EMBEDDED, POLICIES
from arbitrage.routers.reward_log import RewardLog, reward_log_of

SMALL = ["AyaExpanse-8B", "CommandR7B", "EuroLLM-9B", "Llama-3.1-8B", "Mistral-7B", "Qwen2.5-7B"]
SMALL += ["TowerPlus-9B"]
LEADERS = ["command-r-plus", "gpt-3.5-turbo"]
JUDGE = "gemba_esa_gpt41"
HEADS = ("learned:kl", "learned:pairs")
BY_TASK = ("lcb", "lcb-weak", "lcb-ten")


def log_of(rows: pl.DataFrame, name: str) -> RewardLog:
    return reward_log_of(rows.to_arrow(), name)


def wmt24(data: Path) -> RewardLog:
    rows = pl.read_parquet(data / "wmt24/esa.parquet")
    return log_of(
        rows.select(
            "prompt_id",
            pl.col("target_language").alias("language"),
            pl.col("source").alias("prompt"),
            "teacher",
            "reward",
            pl.col("domain").alias("task"),
            pl.col("doc_id").alias("group"),
        ),
        "wmt24",
    )


def wmt25(data: Path, teachers: list[str] | None = None) -> RewardLog:
    rows = pl.read_parquet(data / "wmt25/rewards.parquet")
    if teachers:
        rows = rows.filter(pl.col("teacher").is_in(teachers))
    # Two pairs share a target language with none, so the target stands for the pair.
    return log_of(
        rows.select(
            "prompt_id",
            pl.col("target_language").alias("language"),
            pl.lit(None, pl.String).alias("prompt"),
            "teacher",
            pl.col(JUDGE).cast(pl.Float64).alias("reward"),
            pl.col("domain").alias("task"),
            pl.col("doc_id").cast(pl.String).alias("group"),
        ),
        "wmt25",
    )


def asked(data: Path, name: str, *, named: bool = False) -> RewardLog:
    rows = pl.read_parquet(data / f"router/{name}.parquet")
    keys = ["prompt_id", "language", "prompt"]
    rows = rows.rename({"dataset": "source"}) if named else rows.drop("dataset")
    keys += ["source"] if named else []
    long = rows.unpivot(index=keys, variable_name="teacher", value_name="reward")
    return log_of(long.with_columns(pl.col("reward").cast(pl.Float64)), name)


def ten(data: Path) -> pl.DataFrame:
    """All recorded completions, prompts named as in prompts.parquet."""
    tables = [
        pl.read_csv(path, schema_overrides={"completion": pl.String})
        for path in sorted((data / "lcb/outputs").glob("*.csv"))
    ]
    number = pl.col("id").cast(pl.String).str.zfill(3)
    rows = pl.concat(tables, how="diagonal").filter(pl.col("task") == "crosslingual")
    return rows.select(
        pl.format("lcb-cros-{}-{}-{}", "source", "language", number).alias("prompt_id"),
        pl.col("model").alias("teacher"),
        "completion",
    )


def lcb(
    data: Path,
    *,
    by: Literal["task", "instruction", "prompt"] = "task",
    weak: bool = False,
    every: bool = False,
) -> RewardLog:
    prompts = pl.read_parquet(data / "lcb/prompts.parquet")
    rows = ten(data) if every else pl.read_parquet(data / "lcb/completions.parquet")
    rows = rows.join(prompts, on="prompt_id")
    rows = rows.filter(pl.col("task") == "crosslingual").with_columns(
        pl.col("completion").fill_null("")
    )
    if weak:
        rows = rows.filter(~pl.col("teacher").is_in(LEADERS))
    filtering = LanguageConfusion(LanguageConfusionParams())
    found = filtering.score(
        Batch(rows["completion"].to_list(), rows["language"].to_list(), [None] * len(rows))
    )
    lines = np.nan_to_num(found.measures["line_pass"], nan=0.0)
    words = np.nan_to_num(found.measures["word_pass"], nan=1.0)
    number = pl.col("prompt_id").str.extract(r"(\d+)$")
    if by == "instruction":
        keys = list(rows.select("source", number.cast(pl.Int64), "prompt").iter_rows())
        one = instructions(keys)
        rows = rows.with_columns(
            pl.Series("group", [one[source, count] for source, count, _ in keys])
        )
    elif by == "task":
        rows = rows.with_columns(pl.concat_str(["source", number], separator="-").alias("group"))
    else:
        rows = rows.with_columns(pl.col("prompt_id").alias("group"))
    return log_of(
        rows.select(
            "prompt_id",
            "language",
            "prompt",
            "teacher",
            pl.Series("reward", lines * words, dtype=pl.Float64),
            "group",
        ),
        "lcb",
    )


def modulo(log: RewardLog) -> np.ndarray[Any, np.dtype[np.intp]]:
    return np.array([int(name.rsplit("-", 1)[1]) % 4 for name in log.prompts.prompt_ids])


BOARDS: dict[str, Callable[[Path], RewardLog]] = {
    "wmt24": wmt24,
    "wmt25": wmt25,
    "wmt25-small": lambda data: wmt25(data, SMALL),
    "lcb": lcb,
    "lcb-instruction": lambda data: lcb(data, by="instruction"),
    "lcb-easy": lambda data: lcb(data, by="prompt"),
    "lcb-weak": lambda data: lcb(data, weak=True),
    "lcb-weak-easy": lambda data: lcb(data, weak=True, by="prompt"),
    "lcb-ten": lambda data: lcb(data, every=True),
    "lcb-ten-instruction": lambda data: lcb(data, by="instruction", every=True),
    "llmrouter": lambda data: asked(data, "llmrouter"),
    "llmrouter-named": lambda data: asked(data, "llmrouter", named=True),
    "routerdc": lambda data: asked(data, "routerdc"),
    "routerdc-named": lambda data: asked(data, "routerdc", named=True),
}


def measured_board(
    name: str,
    log: RewardLog,
    routers: tuple[str, ...],
    figures: dict[str, Any],
    meaning: Meaning | None,
) -> list[dict[str, Any]]:
    folds = modulo(log) if name in BY_TASK else FOLDS
    if meaning is not None and any(log.prompts.texts) and EMBEDDED not in routers:
        routers = (*routers, EMBEDDED)
    found = cross_validated(log, routers, folds=folds, meaning=meaning)
    summary = summarised(found)
    rows = []
    for router, row in summary["routers"].items():
        taken = row.get("seconds", {"fit": None, "route": None})
        rows.append(
            {
                "board": name,
                "router": router,
                "mean": number(row["mean_reward"]),
                "95 %": interval(row["ci95"]),
                "vs fixed": f"{row['vs_fixed']['difference']:+.4f}",
                "95 % ": interval(row["vs_fixed"]["ci95"], sign=True),
                "vs single": f"{row['vs_best_single']['difference']:+.4f}",
                "95 %  ": interval(row["vs_best_single"]["ci95"], sign=True),
                "closed": "-" if row["gap_closed"] is None else f"{row['gap_closed']:.1%}",
                "fit s": taken["fit"],
                "route s": taken["route"],
            }
        )
    if any(log.sources):
        folds = grouped_folds(log.groups, FOLDS, 0) if isinstance(folds, int) else folds
        figures[f"{name}: were the data set of a routed prompt known"] = number(known(log, folds))
    ours = summary["routers"].get("learned", summary["routers"]["fixed"])["per_language"]
    worse = [tag for tag, cell in ours.items() if cell["vs_fixed"]["difference"] < 0]
    sure = [
        tag
        for tag in worse
        if ours[tag]["vs_fixed"].get("p_holm") is not None
        and ours[tag]["vs_fixed"]["p_holm"] < 0.05
    ]
    figures[f"{name}: prompts, groups, teachers"] = (
        f"{summary['n_prompts']}, {summary['n_groups']}, {len(summary['teachers'])}"
    )
    figures[f"{name}: languages below fixed, of all"] = f"{len(worse)} of {len(ours)}"
    figures[f"{name}: of them surely so (Holm, 5 %)"] = ", ".join(sure) or "none"
    return rows


def known(log: RewardLog, folds: np.ndarray[Any, np.dtype[np.intp]]) -> float:
    """What the best teacher of each data set earns, found on the other folds."""
    sources, earned = np.array(log.sources), np.empty(len(log))
    for fold in range(int(folds.max()) + 1):
        for source in np.unique(sources):
            here = sources == source
            best = np.nanmean(log.rewards[here & (folds != fold)], axis=0).argmax()
            earned[here & (folds == fold)] = log.rewards[here & (folds == fold), best]
    return float(earned.mean())


def number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 2 else f"{value:.3f}"


def interval(bounds: tuple[float, float] | None, *, sign: bool = False) -> str:
    if bounds is None:
        return "-"
    form = "{:+.4f}" if sign else "{:.4f}"
    return f"[{form.format(bounds[0])}, {form.format(bounds[1])}]"


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("--data", type=Path, required=True, metavar="DIR")
    options.add_argument("--board", action="append", choices=BOARDS, help="only this; repeatable")
    options.add_argument("--heads", action="store_true", help="the KL and pairwise heads too")
    options.add_argument("--embeddings", metavar="KIND", help="and the router with these: e5")
    options.add_argument("--embedding-cache", type=Path, metavar="DIR", help="keep vectors here")
    options.add_argument("--router", action="append", help="only this beside the baselines")
    given = options.parse_args()
    meaning = None
    if given.embeddings:
        meaning = meaning_of({"kind": given.embeddings}, given.embedding_cache)
    where = measured.machine()
    routers = tuple(POLICIES) + (HEADS if given.heads else ())
    if given.router:
        routers = ("best_single", "fixed", *given.router)
    rows: list[dict[str, Any]] = []
    figures: dict[str, Any] = {}
    for name in given.board or [name for name in BOARDS if not name.startswith("lcb-ten")]:
        log = BOARDS[name](given.data)
        if given.quick:
            log = log.part(np.arange(0, len(log), 10))
        rows += measured_board(name, log, routers, figures, meaning)
        gc.collect()
    measured.show(where, rows, figures, as_json=given.json)


if __name__ == "__main__":
    main()
