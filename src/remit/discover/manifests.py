"""Compose files and Kubernetes manifests: what runs with which identity, secrets and power."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

from remit.domain.discovery import Noun, Place, Thing

from .data import documents
from .files import File
from .found import Found
from .values import in_url, is_reference, names_a_secret

_WORKLOADS = frozenset(["Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicaSet"])
_POWER = {"secrets": "read secrets", "pods/exec": "run in other pods", "pods/attach": "run in other pods"}


def read(file: File) -> Found | None:
    """Every service, workload and role in this file."""
    if file.suffix not in (".yml", ".yaml") or file.text is None:
        return None
    found = Found()
    for document in documents(file.text):
        if not isinstance(document, dict):
            continue
        if isinstance(document.get("services"), dict) and "apiVersion" not in document:
            for name, service in document["services"].items():
                if isinstance(service, dict):
                    _service(file, str(name), service, found)
        elif isinstance(document.get("kind"), str) and "apiVersion" in document:
            _object(file, document, found)
    return found if found.things or found.flaws or found.secrets else None


def _service(file: File, name: str, service: Mapping[str, Any], found: Found) -> None:
    place = Place(file.path, file.line_of(f"  {name}:", f"{name}:"), file.commit)
    env = dict(_environment(service.get("environment")))
    for key, value in env.items():
        _value(file, name, key, value, found)
    facts = {"image": str(service.get("image", ""))[:200]}
    found.things.append(Thing(Noun.SERVICE, name, place, {k: v for k, v in facts.items() if v}, _secret_names(env)))
    volumes = [str(v.get("source", "") if isinstance(v, dict) else v) for v in service.get("volumes") or ()]
    if service.get("privileged") is True or any("docker.sock" in volume for volume in volumes):
        why = "is privileged" if service.get("privileged") is True else "has the container engine's socket"
        found.flaw("workload-with-power", place, f"{name} {why}", name)


def _environment(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        yield from ((str(k), str(v)) for k, v in value.items() if v is not None)
    for entry in value if isinstance(value, list) else ():
        name, eq, text = str(entry).partition("=")
        if eq:
            yield name, text


def _value(file: File, owner: str, key: str, value: str, found: Found) -> None:
    for name, secret in in_url(value):
        found.secret("secret-in-file", file, secret, f"{owner}: {key} has a {name} in it", owner)
    if names_a_secret(key) and not in_url(value) and not is_reference(value) and not value.startswith("/"):
        found.secret("secret-in-file", file, value, f"{owner}: {key} is written out", owner)


def _secret_names(env: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in env if names_a_secret(name)))


def _object(file: File, document: Mapping[str, Any], found: Found) -> None:
    kind, meta = document["kind"], document.get("metadata")
    name = str(meta.get("name", "")) if isinstance(meta, dict) else ""
    place = Place(file.path, file.line_of(f"name: {name}"), file.commit)
    if kind == "Secret":
        for key, value in _secret_values(document):
            found.secret("secret-in-file", file, value, f"Secret {name}: {key}", name)
    elif kind in _WORKLOADS:
        _workload(file, f"{kind} {name}", place, _pod(document), found)
    elif kind in ("Role", "ClusterRole"):
        for rule in document.get("rules") or ():
            why = _escalates(rule) if isinstance(rule, dict) else ""
            if why:
                found.flaw("role-allows-escalation", place, f"{kind} {name} can {why}", name)


def _secret_values(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    plain, encoded = document.get("stringData"), document.get("data")
    for key, value in plain.items() if isinstance(plain, dict) else ():
        if isinstance(value, str) and not is_reference(value):
            yield str(key), value
    for key, value in encoded.items() if isinstance(encoded, dict) else ():
        try:
            text = base64.b64decode(str(value), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            continue
        if text and not is_reference(text):
            yield str(key), str(value)


def _pod(document: Mapping[str, Any]) -> Mapping[str, Any]:
    spec: Any = document.get("spec")
    for step in ("jobTemplate", "spec", "template", "spec"):
        if isinstance(spec, dict) and isinstance(spec.get(step), dict) and "containers" not in spec:
            spec = spec[step]
    return spec if isinstance(spec, dict) else {}


def _workload(file: File, name: str, place: Place, pod: Mapping[str, Any], found: Found) -> None:
    secrets: set[str] = set()
    images = []
    for container in [*(pod.get("initContainers") or ()), *(pod.get("containers") or ())]:
        if not isinstance(container, dict):
            continue
        images.append(str(container.get("image", "")))
        for entry in container.get("env") or ():
            if isinstance(entry, dict) and isinstance(entry.get("value"), str):
                _value(file, name, str(entry.get("name", "")), entry["value"], found)
            source = entry.get("valueFrom", {}) if isinstance(entry, dict) else {}
            ref = source.get("secretKeyRef", {}) if isinstance(source, dict) else {}
            secrets |= {f"{ref['name']}/{ref.get('key', '')}"} if isinstance(ref, dict) and ref.get("name") else set()
        security = container.get("securityContext")
        if isinstance(security, dict) and security.get("privileged") is True:
            found.flaw("workload-with-power", place, f"{name} is privileged", name)
    for volume in pod.get("volumes") or ():
        if isinstance(volume, dict) and isinstance(volume.get("secret"), dict):
            secrets.add(str(volume["secret"].get("secretName", "")))
        if isinstance(volume, dict) and isinstance(volume.get("hostPath"), dict):
            found.flaw(
                "workload-with-power", place, f"{name} has a path of its host: {volume['hostPath'].get('path')}", name
            )
    if any(pod.get(flag) is True for flag in ("hostNetwork", "hostPID", "hostIPC")):
        found.flaw("workload-with-power", place, f"{name} lives in its host's namespaces", name)
    account = str(pod.get("serviceAccountName") or pod.get("serviceAccount") or "default")
    if account == "default" and pod.get("automountServiceAccountToken") is not False:
        found.flaw("default-identity-mounted", place, f"{name} has the default service account's token", name)
    facts = {"image": ", ".join(images)[:200], "service account": account}
    found.things.append(Thing(Noun.SERVICE, name, place, facts, tuple(sorted(filter(None, secrets)))))


def _escalates(rule: Mapping[str, Any]) -> str:
    verbs = {str(v) for v in rule.get("verbs") or ()}
    resources = {str(r) for r in rule.get("resources") or ()}
    if "*" in verbs and "*" in resources:
        return "do everything"
    special = verbs & {"escalate", "bind", "impersonate"}
    if special:
        return f"give itself more: {', '.join(sorted(special))}"
    for resource, what in _POWER.items():
        wanted = {"get", "list", "watch", "*"} if resource == "secrets" else {"create", "get", "*"}
        if (resource in resources or "*" in resources) and verbs & wanted:
            return what
    return ""
