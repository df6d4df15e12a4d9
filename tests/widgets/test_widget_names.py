"""No widget has the name of one of Textual's: Textual would style it by that name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import textual.widgets
from textual.widget import Widget

import widgets


def test_no_widget_bears_a_textual_name() -> None:
    ours = {
        name
        for module in pkgutil.iter_modules(widgets.__path__)
        for name, found in inspect.getmembers(importlib.import_module(f"widgets.{module.name}"), inspect.isclass)
        if issubclass(found, Widget) and found.__module__ == f"widgets.{module.name}"
    }
    assert ours
    assert not ours & set(textual.widgets.__all__)
