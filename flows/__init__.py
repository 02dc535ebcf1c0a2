"""Prefect flows: the order of steps, and the command line on top."""
