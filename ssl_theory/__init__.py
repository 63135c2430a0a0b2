"""An executable companion to "Understanding Self-supervised Learning with Dual Deep Networks"."""

__version__ = "0.1.0"
