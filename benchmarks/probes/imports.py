"""Import modules, print a line, and wait until the standard input closes."""

import importlib
import sys
import warnings
from contextlib import suppress

warnings.simplefilter("ignore")
for name in sys.stdin.readline().split():
    with suppress(Exception):  # some modules cannot be imported alone
        importlib.import_module(name)
print("imported", flush=True)
sys.stdin.read()
