"""Where assistants keep their configurations in a home folder: files and folders, never the whole home."""

from __future__ import annotations

from pathlib import Path

_PLACES = (
    ".claude.json",
    ".claude/settings.json",
    ".claude/settings.local.json",
    ".config/Claude/claude_desktop_config.json",
    "Library/Application Support/Claude/claude_desktop_config.json",
    "AppData/Roaming/Claude/claude_desktop_config.json",
    ".cursor/mcp.json",
    ".config/Code/User/mcp.json",
    ".config/Code/User/settings.json",
    "Library/Application Support/Code/User/mcp.json",
    "Library/Application Support/Code/User/settings.json",
    ".codeium/windsurf/mcp_config.json",
    ".config/zed/settings.json",
    ".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
    ".config/Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
    ".continue/config.json",
    ".continue/config.yaml",
    ".gemini/settings.json",
    ".qwen/settings.json",
    ".codex/config.toml",
    ".config/goose/config.yaml",
    ".aws/amazonq/mcp.json",
    ".kiro/settings/mcp.json",
    ".junie/mcp/mcp.json",
    ".lmstudio/mcp.json",
    ".copilot/mcp-config.json",
    ".config/opencode/opencode.json",
    ".aws/credentials",
    ".netrc",
    ".npmrc",
    ".pypirc",
    ".git-credentials",
    ".docker/config.json",
    ".pgpass",
)


def homes(home: Path) -> list[Path]:
    """Those that are there."""
    return [path for place in _PLACES if (path := home / place).is_file()]
