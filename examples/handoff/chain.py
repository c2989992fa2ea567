"""Read the log's events, and say of each decision on one tool who acted for whom, up to whoever began it."""

import json
import sys

events = [json.loads(line) for line in sys.stdin]
begun = {e["data"]["task"]: e["data"] for e in events if e["type"] == "TaskProposed"}
for event in events:
    data = event["data"]
    if event["type"] == "AccessDecided" and data["tool"] == sys.argv[1] and data["decision"] == "permit":
        path = [data["task"], *reversed(data["chain"])]
        acted = " for ".join(f"{begun[task]['agent']} in {task}" for task in path)
        print(f"{data['tool']}, {data['decision']}: {acted} for {begun[path[-1]]['initiator']}")
