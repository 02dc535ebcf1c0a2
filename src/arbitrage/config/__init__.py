"""The run config: what people write in run.toml, checked before anything is sent."""

from arbitrage.config.calibrate import CalibrateConfig
from arbitrage.config.load import load_config, parse_config, parse_filters
from arbitrage.config.model import (
    PromptsConfig,
    RouterConfig,
    RunConfig,
    RunSection,
    Sampling,
    TeacherConfig,
)
from arbitrage.config.prices import TokenPrice
from arbitrage.config.select import SelectConfig

__all__ = [
    "CalibrateConfig",
    "PromptsConfig",
    "RouterConfig",
    "RunConfig",
    "RunSection",
    "Sampling",
    "SelectConfig",
    "TeacherConfig",
    "TokenPrice",
    "load_config",
    "parse_config",
    "parse_filters",
]
