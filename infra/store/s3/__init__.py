"""Runs in an object store: worked on locally, mirrored in commits, read back from anywhere."""
