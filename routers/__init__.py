"""Routers give each prompt a probability per teacher; drawing from it is the framework's job."""
