"""The pictures an organism learns to grow: bundled drawings, picture files and emoji."""

from nca.targets.pictures import describe, names, target

__all__ = ["describe", "names", "target"]
