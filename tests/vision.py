"""torchvision, also where PyPI's build stands beside torch's CPU build.

Its compiled operators are for CUDA and do not load there. No encoder needs them, but the import insists that
they exist. After this import, packages that need torchvision (timm, lightly, Lightning) can be imported, too.
"""

from __future__ import annotations

from unittest import mock

try:
    import torchvision
except RuntimeError:
    with mock.patch("torch.library.register_fake", return_value=lambda function: function):
        import torchvision

__all__ = ["torchvision"]
