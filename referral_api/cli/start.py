"""Where `referral` begins: the program is loaded, and run.

Loading makes hundreds of thousands of objects, none of which is garbage. To look for garbage among them again and again
took an eighth of the time that a command needs until its first own line, so that nobody looks until they are there.

Must never: know what the program does, or load a module of it before `loading`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def loading() -> Iterator[None]:
    """Modules are loaded in this block, and nobody looks for garbage."""
    was_looking = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_looking:
            gc.enable()


def main() -> None:
    """The entry point."""
    with loading():
        program = import_module("referral_api.cli.main")
    # What a module made lasts as long as the process: later looks pass over it.
    gc.freeze()
    program.main()
