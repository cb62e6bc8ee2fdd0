"""How each image network is made: one frozen value a recipe, like training/recipes.py for Deceptrons."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from models.deceptronnet import NetworkConfig
from training.images import PaperImages, Photographs, Source


@dataclass(frozen=True)
class NetworkRecipe:
    """Everything a run depends on, save its seed.

    Attributes:
        batches: how many; fewer where ``limit_s`` seconds end first: the learning rate then falls with the time.
        loss: ``log_mse`` counts easy and hard images alike; ``mse`` is the paper's.
        early: weight of the mean loss of all steps but the last.
        linear_batches: so many first batches start at the linear estimate, which is cheaper.
        average: decay of the running mean of the weights, which is what is kept.
        starts_from: an earlier version of the same name, kept where this one will be, whose weights are taken on.
    """

    name: str
    version: int
    title: str
    network: NetworkConfig
    source: Callable[[], Source]
    batches: int
    learning_rate: float
    loss: str = "log_mse"
    batch_size: int = 12
    limit_s: float | None = None
    early: float = 0.1
    warm_up: int = 100
    linear_batches: int = 0
    average: float = 0.998
    gradient_clip: float = 1.0
    half_precision: bool = True
    starts_from: int | None = None

    def smoke(self) -> "NetworkRecipe":
        """The same path in seconds."""
        return replace(self, batches=3, batch_size=2, limit_s=None)


WIDTHS, BLOCKS = (32, 64), (0, 2)

FIRST = NetworkRecipe(
    name="deblur",
    version=1,
    title="Deblurring of photographs with a known point spread function",
    network=NetworkConfig("shipped", 6, WIDTHS, BLOCKS, carried=8, start="variation"),
    source=Photographs,
    batches=5700,
    learning_rate=1e-3,
    linear_batches=4150,
)

NETWORK_RECIPES = {"deblur@1": FIRST} | {
    recipe.name: recipe
    for recipe in (
        NetworkRecipe(
            name="deblur-paper",
            version=1,
            title="The paper's 2D task: smoothed noise under a Gaussian of unknown width, seen at half resolution",
            network=NetworkConfig("paper", steps=6, widths=(32, 64)),
            source=PaperImages,
            batches=600,
            batch_size=8,
            learning_rate=1e-3,
            loss="mse",
            early=0.0,
            average=0.99,
        ),
        replace(FIRST, version=2, batches=9000, limit_s=4900.0, linear_batches=0, average=0.999, starts_from=1),
        NetworkRecipe(
            name="deblur-oneshot",
            version=1,
            title="The same U-Net in one shot",
            network=NetworkConfig("shipped", 1, WIDTHS, BLOCKS),
            source=Photographs,
            batches=4000,
            learning_rate=1e-3,
        ),
    )
}
