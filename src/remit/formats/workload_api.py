"""The messages of the SPIFFE Workload API (proto3, no package), in a descriptor pool of their own.

The official file has no package, so two libraries of one process that both compile it cannot be loaded together;
a private pool keeps ours out of everybody's way. Fields and numbers: SPIFFE Workload API, appendix A.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, struct_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_Field = descriptor_pb2.FieldDescriptorProto
_STRING, _BYTES = _Field.TYPE_STRING, _Field.TYPE_BYTES

# message → (name, number, type or message, repeated). `map` is string → bytes.
_MESSAGES: dict[str, tuple[tuple[str, int, int | str, bool], ...]] = {
    "X509SVIDRequest": (),
    "X509SVIDResponse": (
        ("svids", 1, ".X509SVID", True),
        ("crl", 2, _BYTES, True),
        ("federated_bundles", 3, "map", True),
    ),
    "X509SVID": (
        ("spiffe_id", 1, _STRING, False),
        ("x509_svid", 2, _BYTES, False),
        ("x509_svid_key", 3, _BYTES, False),
        ("bundle", 4, _BYTES, False),
        ("hint", 5, _STRING, False),
    ),
    "X509BundlesRequest": (),
    "X509BundlesResponse": (("crl", 1, _BYTES, True), ("bundles", 2, "map", True)),
    "JWTSVIDRequest": (("audience", 1, _STRING, True), ("spiffe_id", 2, _STRING, False)),
    "JWTSVIDResponse": (("svids", 1, ".JWTSVID", True),),
    "JWTSVID": (("spiffe_id", 1, _STRING, False), ("svid", 2, _STRING, False), ("hint", 3, _STRING, False)),
    "JWTBundlesRequest": (),
    "JWTBundlesResponse": (("bundles", 1, "map", True),),
    "ValidateJWTSVIDRequest": (("audience", 1, _STRING, False), ("svid", 2, _STRING, False)),
    "ValidateJWTSVIDResponse": (("spiffe_id", 1, _STRING, False), ("claims", 2, ".google.protobuf.Struct", False)),
}


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="remit/workload.proto", syntax="proto3")
    file.dependency.append("google/protobuf/struct.proto")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, int):
                made.type = kind
                continue
            made.type, made.type_name = _Field.TYPE_MESSAGE, kind
            if kind == "map":
                entry = "".join(part.title() for part in field.split("_")) + "Entry"
                made.type_name = f".{name}.{entry}"
                nested = message.nested_type.add(name=entry)
                nested.options.map_entry = True
                nested.field.add(name="key", number=1, type=_STRING, label=_Field.LABEL_OPTIONAL)
                nested.field.add(name="value", number=2, type=_BYTES, label=_Field.LABEL_OPTIONAL)
    pool = DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return {name: GetMessageClass(pool.FindMessageTypeByName(name)) for name in _MESSAGES}


_CLASSES = _build()


def message(name: str) -> Any:
    """The class of a message, by its name in the standard."""
    return _CLASSES[name]
