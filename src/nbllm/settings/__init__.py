"""Where things live, which settings there are, and the file that keeps them."""

from nbllm.settings.config import ConfigFile
from nbllm.settings.paths import Paths
from nbllm.settings.values import SETTINGS, Setting, Settings, SettingValue

__all__ = ["SETTINGS", "ConfigFile", "Paths", "Setting", "SettingValue", "Settings"]
