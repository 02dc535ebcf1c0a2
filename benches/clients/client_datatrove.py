"""datatrove: InferenceRunner on an endpoint, as in its examples/inference, one task.

`max_concurrent_generations` is its documented setting. With the checkpoint on, chunks are of 500
records as in its examples, and each answer goes into its SQLite cache.
"""

from __future__ import annotations

from typing import Any

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from job import MAX_TOKENS, MODEL, count_texts, finished, read_job


async def rollout(document: Any, generate: Any) -> str:
    result = await generate({"messages": [{"role": "user", "content": document.text}]})
    return result.text


def main() -> None:
    job = read_job()
    config = InferenceConfig(
        server_type="endpoint",
        endpoint_url=job.base_url.removesuffix("/v1"),
        model_name_or_path=MODEL,
        max_concurrent_generations=job.concurrency,
        default_generation_params={"max_tokens": MAX_TOKENS},
    )
    runner = InferenceRunner(
        rollout_fn=rollout,
        config=config,
        output_writer=JsonlWriter(
            f"{job.out}/data", output_filename="${rank}_${chunk_index}.jsonl", compression=None
        ),
        checkpoints_local_dir=f"{job.out}/checkpoints" if job.checkpoint else None,
        records_per_chunk=500,
    )
    folder, name = job.prompts.rsplit("/", 1)
    reader = JsonlReader(folder, glob_pattern=name, text_key="prompt")
    LocalPipelineExecutor(pipeline=[reader, runner], logging_dir=f"{job.out}/logs").run()

    def text_of(row: dict[str, Any]) -> object:
        return row["metadata"]["rollout_results"][0]

    finished(lambda: count_texts(f"{job.out}/data", "*.jsonl", text_of))


if __name__ == "__main__":
    main()
