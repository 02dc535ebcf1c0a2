"""Route multilingual prompts to teachers, steer what a student inherits, write training shards."""

__version__ = "0.1.0"
