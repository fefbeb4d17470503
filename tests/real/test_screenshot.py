"""`make screenshot` as a maintainer runs it."""

import os
import struct
import sys
from pathlib import Path

from scripts.check_template import ROOT
from scripts.screenshot import PICTURE, SIZE
from tests.support.commands import git, run
from tests.support.servers import free_port
from tests.support.tools import require

MAX_BYTES = 150_000


def test_screenshot_writes_a_small_picture_and_leaves_nothing_running(
    clone: Path, tmp_path: Path
) -> None:
    require("chromium")
    environment = os.environ | {"PORT": str(free_port())}
    run([sys.executable, "-m", "scripts.screenshot"], clone, environment)

    name = PICTURE.relative_to(ROOT).as_posix()
    assert git(clone, "status", "--porcelain") == f" M {name}\n"
    picture = (clone / name).read_bytes()
    assert len(picture) < MAX_BYTES
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24]) == SIZE
    assert str(clone) not in run(["ps", "-e", "-o", "args"], tmp_path)
