"""Shards over a Ray cluster (`run.runner = "ray"`): docs/decisions/029, docs/scale.md."""
