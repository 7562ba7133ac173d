"""Geometry to pixels: camera, rasterizer, points, shading, texture and the face renderer that joins them."""

from renderers.errors import InputError
from renderers.rasterizer import Fragments, interpolate, rasterize

__all__ = ["Fragments", "InputError", "interpolate", "rasterize"]
