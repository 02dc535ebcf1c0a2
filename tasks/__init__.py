"""Prefect task skins: one step of one shard each, at most about fifteen lines."""
