"""The pictures of controls that compute in the page, with the library's numbers.

Each is called with the positions of its inputs and returns a scene; the function of the same name in
book/assets/compute.js finds the same numbers, and a test compares the two. `data` is what that function needs
to know besides the positions.
"""

from ssl_theory.controls.beliefs import Beliefs
from ssl_theory.controls.lucky import Lucky
from ssl_theory.controls.pulling import Pulling
from ssl_theory.controls.ring import Ring
from ssl_theory.controls.strength import Strength
from ssl_theory.controls.vote import Vote

__all__ = ["Beliefs", "Lucky", "Pulling", "Ring", "Strength", "Vote"]
