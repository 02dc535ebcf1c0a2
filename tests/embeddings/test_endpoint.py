"""Embeddings from a server on a real socket: order, batches, retries, and what breaks."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import pytest
from embedding_server import EmbeddingServer, vector_of

from arbitrage.embeddings import Embedder, EndpointParams, make_embedder
from arbitrage.errors import EmbeddingError


def endpoint(server: EmbeddingServer, **given: Any) -> Embedder:
    params = {"base_url": server.base_url, "model": "small", "max_retries": 2, "timeout_s": 10}
    return make_embedder(EndpointParams.model_validate({**params, **given}))


def test_vectors_come_in_the_order_of_the_texts_and_in_batches(server: EmbeddingServer) -> None:
    texts = [chr(0x4E00 + at) * at for at in range(1, 8)]
    found = endpoint(server, batch=3).embed(["", *texts, "  "])
    assert [len(body["input"]) for body in server.bodies] == [1, 3, 3, 1]  # the first asks the size
    for text, row in zip(texts, found[1:-1], strict=True):
        expected = np.array(vector_of(text, 4))
        np.testing.assert_allclose(row, expected / np.linalg.norm(expected), rtol=1e-6)
    assert not found[0].any()
    assert not found[-1].any()


def test_prompt_dimensions_and_key_are_sent(
    server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "sesame")
    embedder = endpoint(server, prompt="query: ", dimensions=3, api_key_env="A_KEY")
    assert embedder.embed(["x" * 9_000]).shape == (1, 3)
    (body,) = server.bodies
    assert body == {
        "model": "small",
        "input": ["query: " + "x" * 8_000],
        "encoding_format": "float",
        "dimensions": 3,
    }
    assert server.keys == ["Bearer sesame"]


@pytest.mark.parametrize("status", [429, 503, 500, 0])
def test_a_busy_server_is_asked_again(server: EmbeddingServer, status: int) -> None:
    server.faults = [(status, {"Retry-After": "0"}, b"busy")] * 2
    assert endpoint(server, dimensions=4).embed(["a"]).any()
    assert len(server.bodies) == 3


def test_retries_end_and_the_last_failure_is_said(server: EmbeddingServer) -> None:
    server.faults = [(503, {"Retry-After": "0"}, b"out of memory")] * 3
    with pytest.raises(EmbeddingError, match=r"3 tries.*503, out of memory"):
        endpoint(server, dimensions=4).embed(["a"])
    assert len(server.bodies) == 3


def test_a_refusal_is_final_and_shows_no_secret(
    server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "sesame")
    server.faults = [(401, {}, b"Incorrect API key: Bearer sesame")]
    with pytest.raises(EmbeddingError, match="401") as caught:
        endpoint(server, api_key_env="A_KEY").embed(["a"])
    assert "sesame" not in str(caught.value)
    assert len(server.bodies) == 1


def test_a_key_that_is_not_set_is_said_before_anything_is_sent(
    server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    with pytest.raises(EmbeddingError, match="A_KEY"):
        endpoint(server, api_key_env="A_KEY").embed(["a"])
    assert server.bodies == []


def bent(change: str, answer: dict[str, Any]) -> Any:
    first = answer["data"][0]
    if change == "one short":
        del answer["data"][0]
    elif change == "an index twice":
        first["index"] = answer["data"][1]["index"]
    elif change == "an index too high":
        first["index"] = 7
    elif change == "an index that is none":
        first["index"] = [0]
    elif change == "no numbers":
        first["embedding"] = ["a"]
    elif change == "an empty vector":
        first["embedding"] = []
    elif change == "another size":
        first["embedding"] = [1.0]
    elif change == "no data":
        return {"choices": []}
    elif change == "a list":
        return [1]
    return answer


BENT = [
    "one short",
    "an index twice",
    "an index too high",
    "an index that is none",
    "no numbers",
    "an empty vector",
    "another size",
    "no data",
    "a list",
]


@pytest.mark.parametrize("change", BENT)
def test_an_answer_that_breaks_the_protocol_is_an_error(
    server: EmbeddingServer, change: str
) -> None:
    server.bend = lambda answer: bent(change, answer)
    with pytest.raises(EmbeddingError, match=r"small|no vector has the index"):
        endpoint(server, dimensions=4).embed(["a", "b"])


def test_what_is_no_json_and_what_is_too_long_are_errors(server: EmbeddingServer) -> None:
    server.faults = [(200, {}, b"<html>Please wait</html>")]
    with pytest.raises(EmbeddingError, match="no JSON"):
        endpoint(server).embed(["a"])
    server.faults = [(200, {}, b" " * 3_000_000)]
    with pytest.raises(EmbeddingError, match="more than"):
        endpoint(server).embed(["a"])


def test_a_server_that_is_not_there_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    params = EndpointParams(base_url=f"http://127.0.0.1:{port}/v1", model="m", max_retries=0)
    with pytest.raises(EmbeddingError, match=r"1 tries.*refused"):
        make_embedder(params).embed(["a"])


def test_the_identity_is_what_changes_vectors_and_not_the_address(server: EmbeddingServer) -> None:
    one = endpoint(server)
    assert one.identity == endpoint(server, base_url="http://elsewhere/v1", batch=5).identity
    for other in ({"model": "big"}, {"revision": "2"}, {"prompt": "p"}, {"dimensions": 2}):
        assert endpoint(server, **other).identity != one.identity
    assert server.bodies == []
