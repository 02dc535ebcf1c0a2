"""The same prompts to one stand-in server from several clients, in one run.

    python benches/clients/run.py --envs DIR [--quick] [--json FILE] [--out FOLDER]

`bare` and `ours` run in the environment of this command; the peers in those that setup.sh made in
DIR. Prints the table and what could not be run. Every figure is from the first row's arrival at
the server to the client's word that its output is written, so that start-up stands apart.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import Case, Client, measure
from table import table

HERE = Path(__file__).parent
FIXED = ("--latency-ms", "200")
TOKENS = ("--latency-ms", "50", "--token-ms", "1", "--spread", "--batch", "128")
SERVERS = {"fixed": ("200 ms", FIXED), "tokens": ("50 ms + 1 ms/token, batch 128", TOKENS)}


def plan(arguments: argparse.Namespace, repeat: int) -> Iterator[tuple[Case, set[str]]]:
    """Each case with the kinds of clients that take part in this repeat.

    What takes long and says little more a second time is done in the first repeat alone.
    """
    fixed, tokens = SERVERS["fixed"], SERVERS["tokens"]
    first = repeat == 0
    if arguments.quick:
        yield Case(fixed[0], 512, 64, fixed[1]), {"own", "flow", "peer"}
        yield Case(tokens[0], 512, 256, tokens[1]), {"own"}
        return
    for concurrency in (64, 256):
        yield Case(fixed[0], 2048, concurrency, fixed[1]), {"own", "peer"}
    yield Case(tokens[0], 2048, 64, tokens[1]), {"own"}
    yield Case(tokens[0], 2048, 256, tokens[1]), {"own", "peer" if first else "own"}
    for concurrency in (64, 256):
        flow = first and concurrency == 256
        kinds = {"own", "flow" if flow else "own", "peer" if arguments.peers_20k else "own"}
        yield Case(fixed[0], 20_000, concurrency, fixed[1]), kinds


def clients(envs: Path | None) -> tuple[list[Client], list[str]]:
    """Those that can run, and the peers that are not installed."""
    here = Path(sys.executable)
    flow = ("--flow",)
    found = [
        Client("bare", "own", here, "client_bare.py"),
        Client("ours", "own", here, "client_ours.py", ours=True),
        Client("ours, whole flow", "flow", here, "client_ours.py", flow, ours=True),
    ]
    missing = []
    for name, environment, checkpoint in (
        ("datatrove", "datatrove", False),
        ("datatrove, checkpoint", "datatrove", True),
        ("curator", "curator", True),
        ("distilabel", "distilabel", True),
    ):
        folder = (envs or Path()) / environment
        if envs is None or not (folder / ".ready").exists():
            missing.append(name)
            continue
        python = (folder / "bin" / "python").absolute()
        script = f"client_{environment}.py"
        found.append(Client(name, "peer", python, script, checkpoint=checkpoint))
    return found, missing


def write_prompts(folder: Path, rows: int) -> Path:
    """`rows` different prompts in ten languages; the mark lets the server tell rows from probes."""
    lines = (HERE.parents[1] / "examples/local/prompts.jsonl").read_text("utf-8").splitlines()
    texts = [json.loads(line) for line in lines]
    path = folder / f"prompts-{rows}" / "prompts.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            text = texts[number % len(texts)]
            prompt = f"[row {number:05d}] {text['prompt']}"
            row = {"id": f"{number:05d}", "prompt": prompt, "language": text["language"]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def main() -> None:
    arguments = parse()
    able, missing = clients(arguments.envs)
    chosen = set(arguments.clients.split(";")) if arguments.clients else None
    results: list[dict[str, Any]] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="clients-") as scratch:
        folder = (arguments.out or Path(scratch)).absolute()
        os.environ.setdefault("PREFECT_HOME", str(folder / "prefect"))
        os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
        for repeat in range(arguments.repeats):
            for case, kinds in plan(arguments, repeat):
                prompts = write_prompts(folder, case.rows)
                for client in able:
                    if client.kind not in kinds or (chosen and client.name not in chosen):
                        continue
                    out = folder / f"{len(results):03d}"
                    result = measure(client, case, prompts, out, arguments.limit_s)
                    results.append({"repeat": repeat, **result})
                    say(results[-1], time.monotonic() - began)
                    if arguments.json:
                        save(arguments, results, missing)
    print(f"\n{table(results)}")
    for name in missing:
        print(f"{name}: not run, because it is not installed in --envs (setup.sh makes it).")
    print(
        f"{platform.platform()}, {os.cpu_count()} cores, {(time.monotonic() - began) / 60:.0f} min"
    )


def say(result: dict[str, Any], seconds: float) -> None:
    told = f"{result['rows_per_s']:.0f} rows/s" if "error" not in result else result["error"]
    case = f"{result['server']}, {result['rows']} rows at {result['concurrency']}"
    print(f"[{seconds:5.0f} s] {case}: {result['client']}: {told}", file=sys.stderr, flush=True)


def save(arguments: argparse.Namespace, results: list[dict[str, Any]], missing: list[str]) -> None:
    machine = {"platform": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()}
    data = {"machine": machine, "not_installed": missing, "runs": results}
    arguments.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--envs", type=Path, help="folder of the peers' environments (setup.sh)")
    parser.add_argument("--quick", action="store_true", help="512 rows once: does it all work?")
    parser.add_argument("--repeats", type=int, help="default 3, with --quick 1")
    parser.add_argument("--peers-20k", action="store_true", help="peers also on 20,000 rows (long)")
    parser.add_argument("--clients", help='only these, for example "bare;ours"')
    parser.add_argument("--limit-s", type=float, default=600.0, help="for one run of one client")
    parser.add_argument("--json", type=Path, help="write every raw run to this file")
    parser.add_argument(
        "--out", type=Path, help="keep what the clients wrote, and their logs, here"
    )
    arguments = parser.parse_args()
    if arguments.repeats is None:
        arguments.repeats = 1 if arguments.quick else 3
    return arguments


if __name__ == "__main__":
    main()
