"""The estate's page: what a real edge follows and holds, and that it says so when it is silent."""

from __future__ import annotations

from tests.edge.estate import estate
from tests.server import eventually


def test_an_edge_is_seen_and_its_silence_too(tmp_path):
    with estate(tmp_path, stale="1s") as all_of_it:
        http = all_of_it.centre.http("operator")
        bot = all_of_it.agent()
        task, token = bot.task()
        assert all_of_it.at_edge(bot).call(task, token)["decision"] == "permit"

        def edge():
            found, *_ = (one for one in http.get("/console/estate.json").json()["edges"] if one["seat"])
            return found

        found = eventually(edge, lambda one: one["tasks"])
        assert found["tasks"] == [task] and found["current"] and not found["warnings"]
        assert [one["id"] for one in http.get(f"/console/tasks.json?state=open&q={found['name']}").json()["items"]] == [
            task
        ]
        all_of_it.link.cut()
        (warning,) = eventually(edge, lambda one: one["warnings"])["warnings"]
        page = http.get("/console/estate", headers={"Accept": "text/html"}).text
        assert "has not asked for" in warning and "by now it denies" in page
        assert all_of_it.centre.http("frank").get("/console/estate.json").status_code == 403
