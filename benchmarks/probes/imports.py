"""Imports modules, says so, and waits until its standard input closes."""

import importlib
import sys
import warnings
from contextlib import suppress

warnings.simplefilter("ignore")
for name in sys.stdin.readline().split():
    with suppress(Exception):  # one that can't stand alone
        importlib.import_module(name)
print("imported", flush=True)
sys.stdin.read()
