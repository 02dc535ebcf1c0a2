"""distilabel: a pipeline of TextGeneration on OpenAILLM.

`input_batch_size` is its documented setting for requests in flight: a batch is sent at once and
awaited as a whole. Its cache of batches is off, so that a repeat does the work again.
"""

from __future__ import annotations

from distilabel.models.llms import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration
from job import MAX_TOKENS, MODEL, finished, read_job


def main() -> None:
    job = read_job()
    rows = [{"instruction": row["prompt"]} for row in job.read_prompts()]
    with Pipeline(name="bench", cache_dir=f"{job.out}/cache") as pipeline:
        load = LoadDataFromDicts(data=rows, batch_size=job.concurrency)
        generate = TextGeneration(
            llm=OpenAILLM(
                model=MODEL,
                base_url=job.base_url,
                api_key="none",
                generation_kwargs={"max_new_tokens": MAX_TOKENS},
            ),
            input_batch_size=job.concurrency,
        )
        load >> generate
    distiset = pipeline.run(use_cache=False)
    finished(lambda: sum(map(bool, distiset["default"]["train"]["generation"])))


if __name__ == "__main__":
    main()
