"""The demo: a shop with real products, its year of history, generated pictures, and visitors."""

from opportune.demo.load import is_loaded, load, n_events
from opportune.demo.own_csv import read_csv
from opportune.demo.packed import shipped
from opportune.demo.personas import personas, popularity
from opportune.demo.storefront import create_storefront

__all__ = [
    "create_storefront",
    "is_loaded",
    "load",
    "n_events",
    "personas",
    "popularity",
    "read_csv",
    "shipped",
]
