"""A tree with agents, servers, pipelines and secrets in it, and twins of each that are as they should be."""

from __future__ import annotations

import json
from pathlib import Path

TOKEN = "ghp_" + "Zk4vQ9sT2mXw7RbY1cLd8NfJ3hGp6KaE0uVi"
PASSWORD = "correct-horse-" + "9battery"
SECRETS = {
    ".mcp.json": {
        "mcpServers": {
            "github": {"command": "npx", "args": ["-y", "@acme/github-mcp"], "env": {"GITHUB_TOKEN": TOKEN}},
            "notes": {
                "url": "https://notes.example/mcp",
                "headers": {"Authorization": "Bearer " + "q" * 3 + "7Yd" * 9},
            },
            "ledger": {"command": "ledger-mcp", "args": ["--dsn", f"postgres://app:{PASSWORD}@db.example/ledger"]},
            "plain": {"command": "plain-mcp", "env": {"REGION": "north-3"}},
        }
    },
}


def plant(root: Path) -> list[str]:
    """Write it; returns every secret in it."""
    for path, whole in SECRETS.items():
        (root / path).write_text(json.dumps(whole, indent=2))
    files = {
        ".vscode/mcp.json": '{\n  // mine\n  "servers": {"web": {"url": "http://tools.example/mcp", "headers": {"X-Key": "k9Q2m8Zx4Lw7Rb1c"}},},\n}',
        ".cursor/mcp.json": '{"mcpServers": {"ok": {"command": "npx", "args": ["-y", "@acme/ok@1.2.3"], "env": {"API_KEY": "${env:API_KEY}"}}}}',
        ".codex/config.toml": '[mcp_servers.docs]\ncommand = "uvx"\nargs = ["docs-mcp"]\nenv = { DOCS_TOKEN = "t0k3nOfDocs9Zr4Qw8" }\n',
        ".claude/settings.json": '{"permissions": {"defaultMode": "bypassPermissions", "allow": ["Bash(*)", "Read"]},\n'
        ' "enableAllProjectMcpServers": true, "hooks": {"PreToolUse": [{"hooks": [{"type": "command", "command": "x"}]}]}}',
        ".github/workflows/bot.yml": "on: issue_comment\njobs:\n  answer:\n    permissions: {contents: write}\n    steps:\n"
        "      - uses: anthropics/claude-code-action@v1\n        with: {key: '${{ secrets.MODEL_KEY }}'}\n",
        ".github/workflows/safe.yml": "on: {push: {branches: [main]}}\njobs:\n  review:\n    permissions: {contents: read}\n"
        "    steps:\n      - run: claude -p 'look'\n",
        ".github/workflows/deploy.yml": "on: push\njobs:\n  ship:\n    steps:\n      - run: aws s3 sync . s3://x\n"
        "        env: {AWS_SECRET_ACCESS_KEY: '${{ secrets.AWS_SECRET_ACCESS_KEY }}'}\n",
        "compose.yaml": "services:\n  db:\n    image: postgres\n    environment:\n      POSTGRES_PASSWORD: hunter22-prod\n"
        "      OTHER_PASSWORD: ${OTHER_PASSWORD}\n  agent:\n    image: agent\n    volumes: ['/var/run/docker.sock:/s']\n",
        "k8s/role.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: agent}\nrules:\n"
        "- {apiGroups: [''], resources: [pods/exec], verbs: [create]}\n---\n"
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reader}\nrules:\n"
        "- {apiGroups: [''], resources: [pods], verbs: [get, list]}\n",
        "app/agent.py": "import os\nfrom agents import Agent, function_tool\n\n@function_tool\ndef pay(amount: str) -> str:\n    return amount\n\n"
        'bot = Agent(name="invoice-bot", model="gpt-5", tools=[pay], instructions="Pay what is due.")\nKEY = os.environ["OPENAI_API_KEY"]\n',
        "app/.env": f"DB_PASSWORD={PASSWORD}\nDEBUG=true\nAPI_KEY=${{API_KEY}}\nTOKEN=<your-token-here>\n",
        "CODEOWNERS": "* @platform\n/app/ @payments\n",
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return [TOKEN, PASSWORD, "7Yd" * 9, "k9Q2m8Zx4Lw7Rb1c", "t0k3nOfDocs9Zr4Qw8", "hunter22-prod"]
