"""Agents in code: which framework, which agents, with which model, tools and credentials.

Python is read as a syntax tree and never run; TypeScript and JavaScript by their imports and calls.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping
from itertools import islice

from remit.domain.discovery import Noun, Place, Thing

from .files import File
from .found import Found
from .values import is_reference, looks_random, names_a_secret

# Module (or its beginning) → framework, and what makes an agent of it; an empty name is the module's own server.
FRAMEWORKS: Mapping[str, tuple[str, frozenset[str]]] = {
    "agents": ("OpenAI Agents SDK", frozenset({"Agent"})),
    "langchain": ("LangChain", frozenset({"create_agent", "create_react_agent", "AgentExecutor", "initialize_agent"})),
    "langgraph": ("LangGraph", frozenset({"create_react_agent", "StateGraph"})),
    "deepagents": ("Deep Agents", frozenset({"create_deep_agent", "async_create_deep_agent"})),
    "pydantic_ai": ("Pydantic AI", frozenset({"Agent"})),
    "crewai": ("CrewAI", frozenset({"Agent", "Crew"})),
    "google.adk": ("Google ADK", frozenset({"Agent", "LlmAgent", "SequentialAgent", "ParallelAgent", "LoopAgent"})),
    "autogen": ("AutoGen", frozenset({"AssistantAgent", "ConversableAgent", "UserProxyAgent"})),
    "autogen_agentchat": ("AutoGen", frozenset({"AssistantAgent", "CodeExecutorAgent"})),
    "agent_framework": ("Microsoft Agent Framework", frozenset({"ChatAgent", "Agent"})),
    "semantic_kernel": ("Semantic Kernel", frozenset({"ChatCompletionAgent", "OpenAIAssistantAgent"})),
    "smolagents": ("smolagents", frozenset({"CodeAgent", "ToolCallingAgent"})),
    "llama_index": ("LlamaIndex", frozenset({"FunctionAgent", "ReActAgent", "AgentWorkflow", "CodeActAgent"})),
    "strands": ("Strands", frozenset({"Agent"})),
    "agno": ("Agno", frozenset({"Agent", "Team"})),
    "claude_agent_sdk": ("Claude Agent SDK", frozenset({"ClaudeAgentOptions", "ClaudeSDKClient"})),
    "haystack": ("Haystack", frozenset({"Agent"})),
    "browser_use": ("Browser Use", frozenset({"Agent"})),
    "mcp.server": ("MCP", frozenset({"FastMCP", "MCPServer", "Server"})),
    "fastmcp": ("MCP", frozenset({"FastMCP"})),
}
MOST = 200  # of one framework in one file
_SCRIPTS = (
    ("OpenAI Agents SDK", r"@openai/agents", r"new\s+Agent\s*\(\s*\{"),
    ("Vercel AI SDK", r"['\"]ai['\"]", r"(?:generateText|streamText|new\s+(?:ToolLoop)?Agent)\s*\(\s*\{"),
    ("LangChain", r"@langchain/", r"create(?:React)?Agent\s*\(\s*\{|new\s+StateGraph\s*\("),
    ("Mastra", r"@mastra/core", r"new\s+Agent\s*\(\s*\{"),
    ("Claude Agent SDK", r"@anthropic-ai/claude-agent-sdk", r"\bquery\s*\(\s*\{"),
    ("Google ADK", r"@google/adk", r"new\s+LlmAgent\s*\(\s*\{"),
    ("MCP", r"@modelcontextprotocol/sdk|fastmcp", r"new\s+(?:McpServer|Server|FastMCP)\s*\(\s*\{"),
)
_RUNS_CODE = re.compile(
    r"\b(?:CodeAgent|CodeExecutorAgent|CodeActAgent|PythonREPL\w*|PythonAstREPLTool|ShellTool|BashTool|LocalShellTool|"
    r"CodeInterpreterTool|LocalCommandLineCodeExecutor|UnsafeLocalCodeExecutor|allow_dangerous_code\s*=\s*True|"
    r"bypassPermissions|dangerously_skip_permissions|allow_code_execution\s*=\s*True)\b"
)


def read(file: File) -> Found | None:
    """The agents and MCP servers that this file makes."""
    text = file.text
    if text is None or len(text) > 1_000_000:
        return None
    found = Found()
    if file.suffix == ".py" and _mentions(text):
        _python(file, text, found)
    elif file.suffix in (".ts", ".tsx", ".js", ".mjs", ".cjs"):
        _script(file, text, found)
    return found if found.things or found.flaws or found.secrets else None


def _mentions(text: str) -> bool:
    return any(re.search(rf"^\s*(?:from|import)\s+{re.escape(module)}\b", text, re.MULTILINE) for module in FRAMEWORKS)


def _python(file: File, text: str, found: Found) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    makers = dict(_imported(tree))
    used = tuple(sorted(set(_environment(tree))))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        framework = makers.get(dotted(node.func)) or makers.get(dotted(node.func).split(".")[0] + ".*", "")
        maker = dotted(node.func).rpartition(".")[2]
        if framework and any(maker in makes for name, makes in FRAMEWORKS.values() if name == framework):
            _agent(file, node, framework, maker, used, found)
    if found.things:
        _keys(file, tree, found)
        _dangers(file, text, found)


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(name in this file, framework): of what was imported from one, and `module.*` for the module itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            framework = _framework(node.module)
            if framework:
                yield from ((alias.asname or alias.name, framework) for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                framework = _framework(alias.name)
                if framework:
                    yield (alias.asname or alias.name.split(".")[0]) + ".*", framework


def _framework(module: str) -> str:
    fits = [name for name in FRAMEWORKS if module == name or module.startswith((f"{name}.", f"{name}_"))]
    return FRAMEWORKS[max(fits, key=len)][0] if fits else ""


def _agent(file: File, node: ast.Call, framework: str, maker: str, used: tuple[str, ...], found: Found) -> None:
    given = {word.arg: word.value for word in node.keywords if word.arg}
    name = _text(given.get("name")) or _text(given.get("role")) or (_text(node.args[0]) if node.args else "") or maker
    tools = given.get("tools")
    names = (
        [dotted(item.func if isinstance(item, ast.Call) else item) for item in tools.elts]
        if isinstance(tools, ast.List | ast.Tuple)
        else []
    )
    model = _text(given.get("model")) or _text(given.get("llm"))
    says = next(
        (
            _text(given[k])
            for k in ("instructions", "system_prompt", "instruction", "prompt", "backstory")
            if k in given
        ),
        "",
    )
    facts = {"framework": framework, "model": model, "tools": ", ".join(filter(None, names))[:500]}
    if says:
        facts["prompt"] = f"{len(says)} characters"
    server = framework == "MCP"
    facts = {key: value for key, value in facts.items() if value}
    noun = Noun.MCP_TOOLS if server else Noun.AGENT
    found.things.append(Thing(noun, name[:80], Place(file.path, node.lineno, file.commit), facts, used))


def _environment(tree: ast.AST) -> Iterator[str]:
    """Names of secrets that are read from the environment."""
    for node in ast.walk(tree):
        name = ""
        if isinstance(node, ast.Subscript) and dotted(node.value).endswith("environ"):
            name = _text(node.slice)
        elif isinstance(node, ast.Call) and dotted(node.func).endswith(("environ.get", "getenv")) and node.args:
            name = _text(node.args[0])
        if name and names_a_secret(name):
            yield name


def _keys(file: File, tree: ast.AST, found: Found) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for word in node.keywords:
                value = _text(word.value)
                if word.arg and names_a_secret(word.arg) and value and not is_reference(value) and looks_random(value):
                    found.secret(
                        "agent-key-in-code", file, value, f"{word.arg} of {dotted(node.func)}", dotted(node.func)
                    )


def _dangers(file: File, text: str, found: Found) -> None:
    for match in _RUNS_CODE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if not text.splitlines()[line - 1].lstrip().startswith(("import ", "from ", "#")):
            found.flaw("agent-runs-code", Place(file.path, line, file.commit), match[0], match[0])


def _script(file: File, text: str, found: Found) -> None:
    for framework, module, makes in _SCRIPTS:
        if not re.search(rf"(?:from\s+|require\(\s*|import\s+)['\"]?(?:{module})", text):
            continue
        used = tuple(sorted({m for m in re.findall(r"process\.env\.(\w+)", text) if names_a_secret(m)}))
        for match in islice(re.finditer(makes, text), MOST):
            body = text[match.end() : match.end() + 2000]
            named = re.search(r"\bname\s*:\s*['\"`]([^'\"`\n]{1,80})", body)
            model = re.search(r"\bmodel\s*:\s*(?:\w+\(\s*)?['\"`]([^'\"`\n]{1,80})", body)
            facts = {"framework": framework} | ({"model": model[1]} if model else {})
            line = text.count("\n", 0, match.start()) + 1
            noun = Noun.MCP_TOOLS if framework == "MCP" else Noun.AGENT
            name = named[1] if named else framework
            found.things.append(Thing(noun, name, Place(file.path, line, file.commit), facts, used))


def dotted(node: ast.AST | None) -> str:
    """`agent.tool`, of a name or an attribute; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    if isinstance(node, ast.Subscript):
        return dotted(node.value)
    return ""


def _text(node: ast.AST | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.Call) and node.args:  # ChatOpenAI("gpt-…"), Model(model="…")
        return _text(node.args[0])
    return ""
