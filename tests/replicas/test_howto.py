"""`docs/howto/replicas.md` is done as it says."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.howtos import fenced
from tests.replicas.estate import estate


def free_decade():
    """Four digits less one, so that with 1, 2 and 3 behind it there are three free ports."""
    while True:
        found = random.randrange(2000, 3200)
        with socket.socket() as one, socket.socket() as two, socket.socket() as three:
            try:
                for n, probe in enumerate((one, two, three), 1):
                    probe.bind(("127.0.0.1", found * 10 + n))
                return found
            except OSError:
                continue


@pytest.mark.soak
def test_three_replicas_as_the_page_says(postgres, tmp_path):
    start, leave, look = fenced("replicas.md", "sh")
    decade = str(free_decade())
    with estate(postgres, tmp_path) as here:
        script = f"{start}\n{leave}\nkill $(cat replica[23].pid); wait $(cat replica1.pid replica2.pid replica3.pid); echo $?"
        script = script.replace("postgresql://remit:secret@db.internal/remit", here.dsn).replace("745", decade)
        env = {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["ready", "ready", "ready", "503", "0"]
        (holder,) = here.sql(re.search(r'-c "(.*)"', look)[1])
        assert holder[1] >= 1
