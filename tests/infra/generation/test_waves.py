"""Teachers that share a device are asked one after the other, each in exactly one wave."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from arbitrage.config import TeacherConfig
from arbitrage.infra.generation.waves import wave_of, waves


def _teacher(name: str, device: str | None = None, **more: object) -> TeacherConfig:
    own = {} if device is None else {"exclusive": device}
    given = {"name": name, "backend": "vllm", "model": "m", **own, **more}
    return TeacherConfig.model_validate(given)


def test_without_exclusive_teachers_there_is_one_wave_of_all() -> None:
    teachers = [_teacher("a"), _teacher("b")]
    (only,) = waves(teachers)
    assert only.teachers == ("a", "b")
    assert only.exclusive == ()
    assert only.open_to_moves == {"a", "b"}
    assert wave_of(teachers, None) == only


def test_each_wave_has_the_next_of_each_device_and_the_first_all_that_are_free() -> None:
    teachers = [
        _teacher("a", "gpu0"),
        _teacher("free"),
        _teacher("b", "gpu1"),
        _teacher("c", "gpu0"),
        _teacher("d", "gpu0"),
    ]
    made = waves(teachers)
    assert [wave.teachers for wave in made] == [("free", "a", "b"), ("c",), ("d",)]
    assert [wave.exclusive for wave in made] == [("a", "b"), ("c",), ("d",)]
    assert made[1].open_to_moves == {"free", "c"}
    assert made[2].over == {"a", "b", "c"}
    assert wave_of(teachers, ["c"]) == made[1]


def test_a_server_that_runs_already_takes_no_turn() -> None:
    teachers = [
        _teacher("a", "gpu0"),
        _teacher("b", "gpu0", base_url="http://h:1/v1"),
        _teacher("c", "gpu0", base_urls=["http://h:2/v1", "http://h:3/v1"]),
    ]
    assert [wave.teachers for wave in waves(teachers)] == [("b", "c", "a")]


@given(st.lists(st.sampled_from([None, "gpu0", "gpu1", "tpu"]), max_size=9))
def test_each_teacher_is_in_one_wave_and_no_wave_has_two_of_a_device(devices: list) -> None:
    teachers = [_teacher(f"t{i}", device) for i, device in enumerate(devices)]
    made = waves(teachers)
    device_of = {teacher.name: device for teacher, device in zip(teachers, devices, strict=True)}
    asked = [name for wave in made for name in wave.teachers]
    assert sorted(asked) == sorted(device_of)
    for wave in made:
        held = [device_of[name] for name in wave.exclusive]
        assert len(held) == len(set(held))
        assert not wave.over & set(wave.teachers)
        assert not wave.over & wave.open_to_moves
    for before, after in pairwise(made):
        assert after.over == before.over | set(before.exclusive)
