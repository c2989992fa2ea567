"""Bytes ↔ values, one module per standard and named for it. `parse` returns a verified value or raises a `Refusal`.

Pure: keys and the time are arguments. Only this room knows joserfc, cryptography, msgspec and rfc8785.
"""
