"""The chart, rendered by Helm's own engine and checked against Kubernetes' own schemas."""

from __future__ import annotations

import json
import re
from pathlib import Path

import helm_python
import kubernetes_validate
import pytest
import yaml

from remit.cli.settings import DEFAULTS
from remit.web.routes import ROUTES

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "remit"
KUBERNETES = ("1.27", "1.33")
FULL = {
    "image": {"repository": "registry.example/remit", "digest": "sha256:" + "a" * 64},
    "imagePullSecrets": [{"name": "pull"}],
    "rootKey": {"previous": True},
    "issuers": {"environmentSecrets": ["billing-dsn"], "fileSecrets": ["billing.file"]},
    "traces": {"endpoint": "http://collector:4318"},
    "service": {"annotations": {"a/b": "c"}},
    "serviceAccount": {"annotations": {"a/b": "c"}},
    "podAnnotations": {"a/b": "c"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "autoscaling": {"enabled": True},
    "networkPolicy": {
        "from": [{"namespaceSelector": {"matchLabels": {"agents": "yes"}}}],
        "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 5432, "protocol": "TCP"}]}],
    },
    "monitoring": {"serviceMonitor": True, "rules": True},
}


def rendered(values=None):
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(values=values or {}, name="prod", namespace="remit")
    found = [d for name, text in files.items() if name.endswith(".yaml") for d in yaml.safe_load_all(text) if d]
    return {one["kind"]: one for one in found}


@pytest.mark.parametrize("values", [{}, FULL], ids=["default", "full"])
@pytest.mark.parametrize("version", KUBERNETES)
def test_what_is_rendered_is_what_kubernetes_takes(values, version):
    found = rendered(values)
    for kind, document in found.items():
        if kind not in ("ServiceMonitor", "PrometheusRule"):  # of the Prometheus operator
            kubernetes_validate.validate(document, version, strict=True)
    expected = {"ConfigMap", "Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"}
    more = {"HorizontalPodAutoscaler", "ServiceMonitor", "PrometheusRule"} if values else set()
    assert set(found) == expected | more
    broken = json.loads(json.dumps(found["Deployment"]))
    broken["spec"]["template"]["spec"]["containers"][0]["securityContex"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


def test_helm_itself_finds_nothing():
    found = helm_python.lint(CHART, values=FULL, strict=True)
    assert not found["errors"] and {one["error"] for one in found["messages"]} <= {"icon is recommended"}


def test_a_pod_may_do_nothing_but_serve():
    pod = rendered()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert (
        pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    )
    assert pod["automountServiceAccountToken"] is False and "hostNetwork" not in pod
    writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"/var/lib/remit", "/tmp"}
    assert {c["topologyKey"] for c in pod["topologySpreadConstraints"]} == {
        "topology.kubernetes.io/zone", "kubernetes.io/hostname",
    }  # fmt: skip
    paths = {route.path for route in ROUTES if route.method == "GET"}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["path"] in paths and asked["scheme"] == "HTTPS"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz", "a store that is away must not restart pods"


def test_a_setting_is_one_that_the_server_has_and_secrets_are_only_named():
    found = rendered(FULL)
    for name in found["ConfigMap"]["data"]:
        known = name.removeprefix("REMIT_").lower() in DEFAULTS
        assert known or name in (
            "REMIT_ROOT_KEY_FILE", "REMIT_ROOT_KEY_PREVIOUS_FILE", "OTEL_EXPORTER_OTLP_ENDPOINT",
        ), name  # fmt: skip
    assert "Secret" not in found
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert all("value" not in one for one in container["env"])
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert not re.search("password|BEGIN|postgresql://[^…]", json.dumps(values))
    assert "replicas" not in found["Deployment"]["spec"], "the autoscaler's"
    assert found["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"].endswith("@sha256:" + "a" * 64)


@pytest.mark.parametrize(
    "values",
    [
        {"publicUrl": "http://remit.example"},
        {"publicUrl": "https://remit.example/"},
        {"replica": 2},
        {"replicas": 0},
        {"image": {"repository": "r", "tag": "latest"}},
        {"image": {"repository": "r", "digest": "sha256:abc"}},
        {"rootKey": {"secret": "UPPER"}},
        {"rootKey": {"value": "the key itself"}},
        {"database": {"dsn": "postgresql://u:p@h/d"}},
        {"podDisruptionBudget": {"maxUnavailable": 0}},
    ],
    ids=str,
)
def test_values_that_make_no_sense_are_refused(values):
    with pytest.raises(helm_python.HelmError):
        rendered(values)


def test_rules_are_the_ones_that_are_tested():
    assert (CHART / "files" / "rules.yaml").read_text() == (ROOT / "deploy" / "prometheus" / "rules.yaml").read_text()
    assert rendered(FULL)["PrometheusRule"]["spec"] == yaml.safe_load((CHART / "files" / "rules.yaml").read_text())


def test_the_network_lets_in_one_port_and_out_what_is_named():
    closed = rendered(FULL)["NetworkPolicy"]["spec"]
    assert closed["policyTypes"] == ["Ingress", "Egress"] and closed["ingress"][0]["ports"] == [
        {"port": "https", "protocol": "TCP"}
    ]
    assert closed["ingress"][0]["from"] == FULL["networkPolicy"]["from"]
    assert rendered()["NetworkPolicy"]["spec"]["ingress"][0]["from"] == [{"podSelector": {}}]
