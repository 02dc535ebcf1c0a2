"""The ideal: one asyncio task per slot around aiohttp. It keeps the texts in a list, no more."""

from __future__ import annotations

import asyncio

import aiohttp
import orjson
from job import MAX_TOKENS, MODEL, finished, read_job


async def main() -> None:
    job = read_job()
    waiting = iter(job.read_prompts())
    texts: list[str] = []
    url = f"{job.base_url}/chat/completions"

    async def slot(session: aiohttp.ClientSession) -> None:
        for row in waiting:
            messages = [{"role": "user", "content": row["prompt"]}]
            body = {"model": MODEL, "messages": messages, "max_tokens": MAX_TOKENS}
            async with session.post(url, data=orjson.dumps(body)) as response:
                response.raise_for_status()
                answer = orjson.loads(await response.read())
            texts.append(answer["choices"][0]["message"]["content"])

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(slot(session) for _ in range(job.concurrency)))
        finished(lambda: sum(map(bool, texts)))


if __name__ == "__main__":
    asyncio.run(main())
