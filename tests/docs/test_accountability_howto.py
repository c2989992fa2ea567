"""The page on who answers, done at a real server: every command of it, and what becomes of the agent."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from tests.server import CATALOGUE, Server, eventually, process

from .howtos import catalogues, fenced, whole

PAGE = "accountability.md"


def test_every_command_of_the_page(tmp_path: Path) -> None:
    answers, directory = catalogues(PAGE)
    mine = whole({**answers, "remit.toml": answers["remit.toml"] + directory["remit.toml"]})
    for name in ("purposes/pay.toml", "tools/list.toml", "tools/pay.toml", "policies/default.cedar"):
        mine[name] = CATALOGUE[name].split("[[credentials]]")[0]
    folder = tmp_path / "catalogue"
    for name, text in mine.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    leave, key, review, change = (block.splitlines() for block in fenced(PAGE, "console"))
    with process(tmp_path / "data") as server:
        run = lambda line: done(server, line, folder)  # noqa: E731
        run("remit apply .")
        run("remit key create person olga --save --quiet && remit key create person dana --save --quiet")
        bot = server.agent()
        task, token = bot.task()
        assert bot.call(task, token)["decision"] == "permit"
        eventually(lambda: server.http("operator").get("/v1/log/search?q=permit").text, lambda text: task in text)
        operator = server.http("operator")
        eventually(lambda: operator.get("/v1/reviews").text, lambda text: "bot" in text)  # it opened by itself
        assert "1 waited already" in run(review[0])
        assert "never used" in [run(line) for line in review[1:3]][1]
        run(review[3])
        assert bot.call(task, token, "pay", {"customer": "acme"})["decision"] == "deny"
        (folder / "narrower.patch").write_text(run(change[0].partition(" > ")[0]))
        subprocess.run(shlex.split(change[1]), cwd=folder, check=True)
        run(change[2])
        assert '"pay"' not in (folder / "purposes/pay.toml").read_text()
        assert key[0] == "remit key create directory hr" and "key_directory_" in run(key[0])
        run(leave[0])
        eventually(lambda: operator.get("/v1/successions").text, lambda text: "bot" in text)
        assert "dana" in run(leave[1])
        assert "olga" not in run(leave[2])
        assert "taken" in run(leave[1])


def done(server: Server, line: str, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    ran = subprocess.run(["bash", "-euc", line], cwd=folder, env=server.env(PATH=path), capture_output=True, text=True)
    assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
    return ran.stdout + ran.stderr
