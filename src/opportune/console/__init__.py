"""The console: what happens, who people are, why decisions fell as they did."""

from opportune.console.app import create_console

__all__ = ["create_console"]
