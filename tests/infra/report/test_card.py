from __future__ import annotations

import datasets
import pytest
import yaml
from huggingface_hub import DatasetCard

from arbitrage.infra.report.card import render_card
from arbitrage.infra.store.files import Folder
from arbitrage.infra.views.saved import save_view
from arbitrage.registry import views


@pytest.fixture
def card(run, manifest) -> str:
    return render_card(run, manifest, license="cc-by-4.0")


def test_the_header_is_yaml_that_the_hub_understands(card):
    data = DatasetCard(card).data.to_dict()
    assert data["language"] == ["ar", "ja", "th", "tr", "zh"]
    assert data["license"] == "cc-by-4.0"
    assert data["size_categories"] == ["n<1K"]
    assert "synthetic" in data["tags"]
    assert [config["config_name"] for config in data["configs"]] == [
        "sft", "preference", "prompts", "candidates",
    ]  # fmt: skip
    assert [config.get("default", False) for config in data["configs"]] == [
        True,
        False,
        False,
        False,
    ]
    assert data["configs"][0]["data_files"] == "views/sft/*.arrow"
    assert yaml.safe_load(card.split("---\n")[1]) == data


def test_language_codes_lose_region_and_script(run, manifest):
    manifest["counts"]["cells"][0]["language"] = "zh-Hant-TW"
    assert DatasetCard(render_card(run, manifest)).data.to_dict()["language"] == [
        "ar",
        "ja",
        "th",
        "tr",
        "zh",
    ]


def test_the_license_is_unknown_unless_somebody_says_it(run, manifest):
    assert DatasetCard(render_card(run, manifest)).data.license == "unknown"


def test_the_card_says_how_the_data_was_made(card):
    for words in (
        "`org/alpha-8b`", "`bf16`", "`temperature = 0.7`", "`length@2`", "`min_words = 5`",
        "`ar, tr`", "8 candidates requested = 5 kept + 2 rejected + 1 failed",
        "2 prompts had no route",
        'sft = load_from_disk("views/sft")', "`toxicity.max_toxicity` 1", "`prompts.no_language` 1",
    ):  # fmt: skip
        assert words in card


def test_hostile_names_stay_inside_their_cells(run, manifest):
    manifest["name"] = "x\n---\n<script>|`"
    manifest["config"]["teachers"][0]["name"] = "`|\n# heading"
    card = render_card(run, manifest)
    assert DatasetCard(card).data.pretty_name == "x --- <script>|`"
    assert "\n# heading" not in card
    body = card.split("\n---\n", 1)[1]
    assert "`x --- <script>\\|'`" in body


def test_a_card_of_nothing_is_still_valid(tmp_path):
    data = DatasetCard(render_card(tmp_path, {})).data.to_dict()
    assert [config["config_name"] for config in data["configs"]] == ["prompts", "candidates"]


def test_the_configs_of_a_card_load_as_the_hub_would_load_them(run, manifest, tmp_path):
    datasets.disable_progress_bars()
    view = views.get("sft").plugin(views.get("sft").params())
    tables = [
        Folder(run).read_table(f"{kind}/part-00000.arrow") for kind in ("prompts", "candidates")
    ]
    save_view([view.rows(*tables, None)], view.schema, run / "views" / "sft")
    del manifest["views"]["preference"]
    (run / "README.md").write_text(render_card(run, manifest), encoding="utf-8")
    loaded = {
        name: datasets.load_dataset(
            str(run), name, split="train", cache_dir=str(tmp_path / "cache")
        )
        for name in ("sft", "prompts", "candidates")
    }
    assert {name: len(table) for name, table in loaded.items()} == {
        "sft": 5, "prompts": 5, "candidates": 8,
    }  # fmt: skip
    assert loaded["sft"][0]["messages"][-1] == {"role": "assistant", "content": "مرحبًا"}


def test_the_card_says_why_pairs_are_pairs_and_whose_answers_are_chosen(run, manifest):
    held = {
        "rows": 4,
        "chosen_characters": 300,
        "rejected_characters": 200,
        "margin": 2.0,
        "policies": {"best_worst": 3, "near_tie": 1},
        "teachers": {"alpha": 3, "beta": 1},
    }
    manifest["views"]["preference"] = {
        "rows": 8,
        "files": [],
        "summary": {"tr": held, "ar": held},
        "dropped": {"max_teacher_share": {"tr": 5, "ar": 1}},
    }
    manifest["config"]["views"] = {"preference": {"max_teacher_share": 0.75}}
    card = render_card(run, manifest)
    for words in (
        "**preference** (`max_teacher_share = 0.75`); left out by caps: `max_teacher_share` 6\n",
        "| `tr` | 4 | 1.50 | 0.5 | `best_worst` 3, `near_tie` 1 | `alpha` 75 %, `beta` 25 % |",
        "| `all` | 8 | 1.50 | 0.5 | `best_worst` 6, `near_tie` 2 | `alpha` 75 %, `beta` 25 % |",
    ):
        assert words in card


def test_the_card_says_why_each_pair_is_a_pair_and_which_round_came_before(tmp_path, manifest):
    held = {
        "rows": 3,
        "chosen_characters": 30,
        "rejected_characters": 20,
        "margin": 1.5,
        "policies": {"best_worst": 2, "in_language": 1},
        "rejected_as": {"translated": 1},
        "rounds": {"newer_chosen": 3},
        "teachers": {"alpha": 3},
    }
    manifest["views"]["preference"] = {"rows": 3, "files": [], "summary": {"tr": held}}
    settings = {"policy": ["best_worst", "in_language"], "max_length_ratio": 2.0, "min_margin": 0.5}
    manifest["config"]["views"] = {"preference": settings}
    before = {"run_id": "round-1", "sha256": "f" * 64, "student": "alpha", "shared_prompts": 1234}
    manifest["parent"] = {**before, "before": [{"run_id": "round-0"}]}
    card = render_card(tmp_path, manifest)
    assert "| `best_worst` | 2 | the widest margin of the prompt first" in card
    assert "| `translated` | 1 | the rejected answer is by a teacher whose answers" in card
    assert "| `newer_chosen` | 3 | chosen from this run, rejected from its parent |" in card
    assert "The rewards differ by at least 0.5. The longer side has at most 2.0 times" in card
    assert "The rejected side may have been filtered." in card
    assert (
        "| round before | `round-1`, manifest `ffffffffffff`; the teacher `alpha` was trained on "
        "its views; 1,234 prompts in common; before it `round-0` |" in card
    )
