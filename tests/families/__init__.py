"""Tiny models of every family, as transformers makes them: one module a group, each with a list CASES."""

import importlib
import pkgutil

from families.case import Case

CASES: list[Case] = [
    case
    for found in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name)
    if found.name != "case"
    for case in importlib.import_module(f"families.{found.name}").CASES
]
