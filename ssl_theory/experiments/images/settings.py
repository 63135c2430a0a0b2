"""What an experiment on images is made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ssl_theory.experiments.store import Label, key_of
from ssl_theory.images.data import Name
from ssl_theory.validation import require_count, require_flag, require_one_of, require_real, require_seed

LossName = Literal[
    "infonce",
    "simple",
    "triplet",
    "covariance",
    "infonce-plain",
    "covariance-plain",
    "released-views",
    "released-originals",
]
EncoderName = Literal["conv", "resnet18"]
Schedule = Literal["constant", "cosine"]
BetaConvention = Literal["book", "released"]


@dataclass(frozen=True)
class ImageExperiment:
    """One setting of T12.

    Args:
        data: "digits", "mnist", "photographs", "cifar10" or "stl10".
        encoder: "conv", a small convolutional one, or "resnet18", with the stem for images of 32 × 32.
        channels: Of the layers of "conv".
        strides: Of the layers of "conv".
        batch_norm: Whether encoder and projector normalise over the batch.
        biases: Whether layers without a BatchNorm have biases; without both, the outputs are homogeneous of
            degree 1 in the weights of each layer.
        hidden: Width of the projector's hidden layer.
        outputs: n_L, width of what the loss compares.
        loss: "infonce", NT-Xent; "simple" and "triplet" with the same normalised outputs and in-batch
            negatives; "covariance", the covariance loss of InfoNCE on normalised outputs, all other
            images as negatives; "infonce-plain" and "covariance-plain", the book's, on plain outputs with one
            negative at a time; "released-views" and "released-originals", the exact-covariance option of the
            authors' program, Σ_k w_k (r_+ − r_-k), with weights from the views or from the images without
            augmentation.
        temperature: τ; the simple loss has none.
        margin: r_0 of "triplet".
        beta: β, weight of an extra pull between the views of an object; negative to push them apart.
        beta_convention: "book" for β r_+ beside the loss. "released" for the authors' program: "infonce" with
            (β/τ) r_+ beside it, divided by 1 + β; covariance losses, which are −½ Σ_k ξ̄_k r̄_k, with
            ½ β Σ_k ξ̄_k r_+; the option itself with β Σ_k w_k r_+.
        strength: Factor of the augmentation.
        epochs: Passes through the images.
        batch: Images in an update, each in two views.
        rate: Adam's step size at the start.
        schedule: "constant", or "cosine" for a step size that falls to 0 along half a cosine.
        measure_every: Epochs between evaluations.
        copies: Random views of each image at an evaluation on digits and MNIST; other images are shown as
            they are.
        seeds: Number of runs.
        seed: Seed of the first run; the next ones count on.

    Raises:
        TypeError: If a number is of another type.
        ValueError: If a number is out of range or a name is unknown.
    """

    data: Name = "digits"
    encoder: EncoderName = "conv"
    channels: tuple[int, ...] = (24, 48, 96)
    strides: tuple[int, ...] = (2, 1, 2)
    batch_norm: bool = True
    biases: bool = True
    hidden: int = 128
    outputs: int = 64
    loss: LossName = "infonce"
    temperature: float = 0.2
    margin: float = 0.0
    beta: float = 0.0
    beta_convention: BetaConvention = "book"
    strength: float = 1.0
    epochs: int = 40
    batch: int = 128
    rate: float = 3e-3
    schedule: Schedule = "cosine"
    measure_every: int = 10
    copies: int = 4
    seeds: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("hidden", "outputs", "measure_every", "seeds"):
            require_count(name, getattr(self, name))
        require_count("epochs", self.epochs, 0)
        for name in ("batch", "copies"):
            require_count(name, getattr(self, name), 2)
        require_seed("seed", self.seed)
        for name in ("temperature", "rate"):
            require_real(name, getattr(self, name), above=0.0)
        for name in ("margin", "beta"):
            require_real(name, getattr(self, name))
        if require_real("strength", self.strength) < 0:
            raise ValueError(f"strength must not be negative, got {self.strength}")
        require_flag("batch_norm", self.batch_norm)
        if not require_flag("biases", self.biases) and self.batch_norm:
            raise ValueError("biases must be True with batch_norm, which brings its own, got False")
        for name, kind in NAMES.items():
            require_one_of(name, getattr(self, name), get_args(kind))
        self._require_layers()
        self._require_convention()

    def _require_layers(self) -> None:
        for name in ("channels", "strides"):
            layers = getattr(self, name)
            if not isinstance(layers, tuple) or not layers:
                raise ValueError(f"{name} must list a number for each layer, got {layers!r}")
            for i, number in enumerate(layers):
                require_count(f"{name}[{i}]", number)
        if len(self.channels) != len(self.strides):
            raise ValueError(
                f"strides must be as many as channels, got {self.strides} for channels {self.channels}"
            )

    def _require_convention(self) -> None:
        if self.beta == 0 or self.beta_convention == "book":
            return
        if self.loss in ("simple", "triplet", "infonce-plain"):
            raise ValueError(
                f"beta_convention must be 'book' with loss {self.loss!r}: the authors' program lacks it"
            )
        if self.loss == "infonce" and self.beta <= -1:
            raise ValueError(f"beta must be greater than -1 with beta_convention 'released', got {self.beta}")

    @classmethod
    def usual(cls, data: Name, **given: Any) -> ImageExperiment:
        """Return the setting that suits a data set, changed where told.

        Digits, MNIST and photographs take a small encoder. CIFAR-10 and STL-10 take a ResNet-18 with a
        projector 512-128, τ = 0.5, batches of 128 and Adam at a constant 1e-3.

        Args:
            data: "digits", "mnist", "photographs", "cifar10" or "stl10".
            **given: What is to be different.

        Returns:
            The experiment.

        Raises:
            TypeError: If there is no such field, or as for the class.
            ValueError: As for the class.
        """
        large: dict[str, Any] = {
            "encoder": "resnet18",
            "hidden": 512,
            "outputs": 128,
            "temperature": 0.5,
            "rate": 1e-3,
            "schedule": "constant",
            "epochs": 100,
            "measure_every": 10,
        }
        return cls(data=data, **(large if data in ("cifar10", "stl10") else {}) | given)

    @property
    def name(self) -> str:
        """A file name of its own for each setting, whatever the number of seeds."""
        return f"{self.data}-{self.loss}-{key_of(self.labels)[:10]}"

    @property
    def labels(self) -> dict[str, Label]:
        """The setting, seeds aside, as columns of a table; the loss by its name, `loss` being its value."""
        fields = {n: v for n, v in asdict(self).items() if n not in ("seeds", "seed", "loss")}
        shape = {n: "-".join(map(str, fields[n])) for n in ("channels", "strides")}
        return fields | shape | {"loss_name": self.loss}


NAMES = {
    "data": Name,
    "encoder": EncoderName,
    "loss": LossName,
    "schedule": Schedule,
    "beta_convention": BetaConvention,
}
ADDED: dict[str, Label] = {
    "beta_convention": "book",
    "biases": True,
}  # labels that older tables lack, and what they mean
