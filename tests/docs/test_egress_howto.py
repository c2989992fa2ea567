"""docs/howto/egress.md is pasted into a real shell, with free ports in the place of the page's."""

from __future__ import annotations

import os
import re
import shutil
import sys

import pytest

from tests.gateway.gates import free_port

from .test_readme import ROOT, Shell, commands, fits

PAGE = (ROOT / "docs" / "howto" / "egress.md").read_text()


@pytest.mark.skipif(not shutil.which("curl") and "CI" not in os.environ, reason="apt-get install curl")
def test_the_page_works_when_pasted(tmp_path):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("REMIT_") and k != "CI"}
    env = {**clean, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    page = PAGE
    ports = {"8000": free_port(), "7461": free_port(), "7450": free_port()}
    for port in ("8000", "7461"):
        page = page.replace(f":{port}", f":{ports[port]}").replace(f"server {port}", f"server {ports[port]}")
    page = page.replace("remit egress > egress.out", f"remit egress --port {ports['7461']} > egress.out")
    shell = Shell(tmp_path, {**env, "REMIT_PORT": str(ports["7450"]), "COLUMNS": "300"})
    try:
        blocks = re.findall(r"^```console\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
        assert len(blocks) >= 6
        for block in blocks:
            for command, expected in commands(block):
                came = shell.run(command)
                assert not expected or fits(expected, came), f"{command}\nexpected:\n{expected}\ncame:\n{came}"
    finally:
        shell.run("kill %1 %2 %3")
        shell.close()
