"""The scorer `detoxify` against `Detoxify.predict` in file order: seconds, and equal scores.

The checkpoint has the size of Detoxify's multilingual model (XLM-R base: 12 layers of 768, 250,002
tokens, 16 logits) and random weights, which cost what trained ones cost; its head is scaled so that
scores spread. Texts are in the languages that the model was trained on: words of the answers of
examples/quickstart, as many as a log-normal draw says (median 40, sigma 1: half of all answers are
shorter, one in a hundred has 400 words), or, with --recorded DIR, the answers of a folder that
holds prompts.parquet (prompt_id, prompt, language) and a table of completions, thinned evenly, in
the order of the file. The tokenizer has the words that recur in them, and single characters.

What is gained depends on how much lengths differ: where all answers were cut at one length, as
those recorded for the Language Confusion Benchmark at 100 tokens, there is little padding to save.

  library   `Detoxify.predict` on --batch texts at a time, as they stand in the file
  ours      the filter `toxicity` on all of them

Both in float32 on the CPU, in turns in one run. `tokens computed` counts padding.

Target: 3 times as fast or more, scores within 0.01.

Example: python benches/toxicity.py --texts 128
Needs pip install "multilingual-arbitrage[detoxify]", 4 GB of memory and 1.2 GB in TMPDIR.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import measured
import numpy as np
import synthetic

from arbitrage.filters.base import Batch
from arbitrage.filters.toxicity import Toxicity, ToxicityParams
from arbitrage.filters.toxicity_detoxify import LANGUAGES, TOKENS, batches_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from small_detoxify import CLASSES, write_checkpoint

_SERVED = LANGUAGES["multilingual"]
_BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
_VOCABULARY, _LONGEST = 250_002, 512


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it returns, and its wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    return work(), time.perf_counter() - wall, time.process_time() - cpu


def mixed_lengths(pairs: Sequence[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """Texts of words from texts of one language each, their lengths drawn as said above."""
    words: dict[str, list[str]] = {}
    for text, tag in pairs:
        words.setdefault(tag, []).extend(text.split())
    draw = np.random.default_rng(20261121)
    sizes = np.clip(draw.lognormal(np.log(40), 1, count), 1, 600).astype(int)
    tags = draw.choice(sorted(words), count)
    return [
        (" ".join(draw.choice(words[tag], size)), str(tag))
        for tag, size in zip(tags, sizes, strict=True)
    ]


def predict(library: Any, texts: Sequence[str], size: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in CLASSES}
    for start in range(0, len(texts), size):
        for name, values in library.predict([*texts[start : start + size]]).items():
            found[name].extend(np.atleast_1d(values).tolist())
    return found


def computed(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> int:
    return sum(len(rows) * max(lengths[row] for row in rows) for rows in batches)


def row(
    name: str, seconds: Sequence[tuple[float, float]], texts: int, tokens: int
) -> dict[str, Any]:
    wall, cpu = (min(values) for values in zip(*seconds, strict=True))
    return {
        "": name,
        "seconds": round(wall, 1),
        "CPU seconds": round(cpu, 1),
        "texts/s": round(texts / wall, 2),
        "tokens computed": tokens,
    }


def main() -> None:
    parser = measured.parser(__doc__)
    parser.add_argument(
        "--recorded", type=Path, metavar="DIR", help="recorded answers, as they are"
    )
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32, help="texts a call of the library")
    parser.add_argument("--rounds", type=int, default=1, help="the quickest counts")
    options = parser.parse_args()
    try:
        from detoxify import Detoxify
    except ModuleNotFoundError as error:
        sys.exit(f'{error}. Run pip install "multilingual-arbitrage[detoxify]".')
    where = measured.machine() | {
        name: metadata.version(name) for name in ("torch", "transformers", "detoxify")
    }
    pairs = zip(
        *synthetic.recorded(options.recorded or synthetic.QUICKSTART, sys.maxsize), strict=True
    )
    served = [(text, tag) for text, tag in pairs if tag in _SERVED]
    count = 24 if options.quick else options.texts
    if options.recorded:
        served = served[:: max(1, len(served) // count)][:count]
    else:
        served = mixed_lengths(served, count)
    texts = [text for text, _ in served]
    with tempfile.TemporaryDirectory() as made:
        path = write_checkpoint(
            Path(made), texts=texts, longest=_LONGEST, vocabulary=_VOCABULARY, logits=16, **_BASE
        )
        library = Detoxify("multilingual", checkpoint=str(path), huggingface_config_path=made)
        ours = Toxicity(
            ToxicityParams(
                scorer="detoxify", checkpoint=str(path), huggingface_config_path=made, device="cpu"
            )
        )
        ours.load()
    batch = Batch(texts, [tag for _, tag in served], [None] * len(texts))
    seconds: dict[str, list[tuple[float, float]]] = {"library": [], "ours": []}
    for _ in range(options.rounds):
        theirs, wall, cpu = timed(lambda: predict(library, texts, options.batch))
        seconds["library"].append((wall, cpu))
        scores, wall, cpu = timed(lambda: ours.score(batch).measures)
        seconds["ours"].append((wall, cpu))
    lengths = [len(ids) for ids in library.tokenizer(texts, truncation=True)["input_ids"]]
    once = [*dict(zip(texts, lengths, strict=True)).values()]
    in_order = [
        range(start, min(start + options.batch, len(texts)))
        for start in range(0, len(texts), options.batch)
    ]
    rows = [
        row("library", seconds["library"], len(texts), computed(lengths, in_order)),
        row(
            "ours", seconds["ours"], len(texts), computed(once, [*batches_of(once, TOKENS["cpu"])])
        ),
    ]
    far = max(float(np.abs(scores[name] - np.array(theirs[name])).max()) for name in CLASSES)
    spread = [float(np.std(theirs[name])) for name in CLASSES]
    figures = {
        "ratio, wall clock (target >= 3)": rows[0]["seconds"] / rows[1]["seconds"],
        "ratio, CPU seconds": rows[0]["CPU seconds"] / rows[1]["CPU seconds"],
        "largest difference of a score (target <= 0.01)": far,
        "standard deviation of the scores, least of the measures": min(spread),
        "texts": len(texts),
        "different texts": len(once),
        "tokens a text, mean / median / longest": (
            f"{np.mean(lengths):.0f} / {np.median(lengths):.0f} / {max(lengths)}"
        ),
    }
    measured.show(where, rows, figures, as_json=options.json)


if __name__ == "__main__":
    main()
