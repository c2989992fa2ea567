"""Credentials as programs expect them: variables, files, a libpq service, a MySQL option file, credential helpers."""

from .kinds import KINDS, Kind
from .private import Private
from .render import SHAPES, Issued, Shaped, ShapeError, Wanted, default_shape, shaped

__all__ = [
    "KINDS",
    "SHAPES",
    "Issued",
    "Kind",
    "Private",
    "ShapeError",
    "Shaped",
    "Wanted",
    "default_shape",
    "shaped",
]
