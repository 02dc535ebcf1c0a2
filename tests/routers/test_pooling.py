"""Partially pooled means where a teacher was never heard of."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from reward_logs import table_of, topical

from arbitrage.routers.fitting import fit_learned
from arbitrage.routers.pooling import PooledMeans
from arbitrage.routers.reward_log import reward_log_of


def test_a_teacher_without_any_reward_is_sent_nowhere() -> None:
    rewards = np.array([[1.0, np.nan]] * 3)
    means = PooledMeans.of(["tr", "tr", "ko"], rewards)
    assert [means.row(tag).tolist() for tag in ("tr", "ko", "fi")] == [[1.0, -np.inf]] * 3
    alone = PooledMeans.of(["tr", "tr", "ko"], rewards, borrowed=0)
    assert [alone.row(tag).tolist() for tag in ("tr", "ko")] == [[1.0, -np.inf]] * 2


def test_a_teacher_whose_one_reward_is_held_out_in_the_fit_is_no_warning() -> None:
    table = topical(120)
    rare = table_of([("p00003", "ko", table["prompt"][9].as_py(), "rare", 0.4)])
    log = reward_log_of(pa.concat_tables([table, rare]), "log")
    known = fit_learned(log).expected(log.prompts)[:, log.teachers.index("rare")]
    assert np.isfinite(known).tolist() == [tag == "ko" for tag in log.prompts.languages]
