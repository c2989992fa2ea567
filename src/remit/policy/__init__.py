"""The policy decision point: Cedar behind one function. Knows nothing of HTTP or storage."""

from .bundle import Bundle, Explanation, compile_bundle
from .cases import CaseResult, parse_cases, run_cases
from .opening import Opening, judge
from .reading import PolicyInfo, default_policy, default_policy_cases

__all__ = [
    "Bundle",
    "CaseResult",
    "Explanation",
    "Opening",
    "PolicyInfo",
    "compile_bundle",
    "default_policy",
    "default_policy_cases",
    "judge",
    "parse_cases",
    "run_cases",
]
