"""Before any package that needs it: torchvision."""

from tests.vision import torchvision as torchvision
