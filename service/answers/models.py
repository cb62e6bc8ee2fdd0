"""Model cards, and what comes with them."""

from typing import Annotated, Literal

from pydantic import Field

from models.deceptron import DeceptronConfig
from models.deceptronnet import NetworkConfig
from service.answers.base import Answer, Real
from service.deblurring.schemas import Method as PictureMethod
from service.schemas import Method, Preset


class Quantity(Answer):
    """One side of a problem: names and units for people, an axis for plots."""

    name: str
    shape: list[int]
    size: int
    unit: str
    components: list[str] = Field(description="the name of each value, where they differ in kind")
    component_units: list[str]
    axis: list[float] = Field(description="the coordinate of each value, where they sample one function")
    axis_label: str
    grid: list[int] = Field(description="the shape that the values fill, last index fastest")


class Observation(Quantity):
    noise_std: float = Field(description="standard deviation of the sensor noise, in the unit of the observation")


class Training(Answer):
    recipe: dict[str, object]
    budget: str
    seed: int
    data: dict[str, int] = Field(description="items by what they were used for")
    git_commit: str
    created_at: str
    versions: dict[str, str]


class Quantiles(Answer):
    median: Real
    p95: Real
    p99: Real


class Calibrated(Answer):
    """What the verdicts of a model are ranked among."""

    items: int
    quantiles: dict[str, Quantiles] = Field(description="of each score")
    suspect_below: float
    out_of_range_below: float


class Card(Answer):
    name: str
    version: int
    versions: list[int]
    title: str
    training: Training
    metrics: dict[str, Real]
    metrics_of_seeds: dict[str, dict[str, Real]]
    calibration: Calibrated


class DeceptronCard(Card):
    kind: Literal["deceptron"]
    problem: str
    source: str
    preset: Preset
    refinements: int
    presets: list[Preset]
    methods: list[Method]
    unknown: Quantity
    observation: Observation
    identifiable: list[str] = Field(description="what the data can determine, where that is less than the unknown")
    identifiable_units: list[str]
    noise_level_rms: float = Field(description="a residual that noise alone exceeds once in a thousand")
    architecture: DeceptronConfig
    limits: dict[str, dict[str, Real]] = Field(description="measured by `deceptron bench trust`")


class NetworkCard(Card):
    kind: Literal["network"]
    methods: list[PictureMethod]
    architecture: NetworkConfig
    images: dict[str, list[str]] = Field(description="the photographs that it was trained on and ranked with")


AnyCard = Annotated[DeceptronCard | NetworkCard, Field(discriminator="kind")]


class Cards(Answer):
    models: list[AnyCard]


class Examples(Answer):
    """Held-out observations to try; none where the checkpoint has none."""

    observations: list[list[float]]
    unknowns: list[list[float]] = Field(description="the truth behind each")
    labels: list[str]


class Histogram(Answer):
    edges: list[Real] = Field(description="one more than counts")
    counts: list[int]
    spacing: Literal["linear", "geometric"]


class Histograms(Answer):
    model: str
    version: int
    items: int
    scores: dict[str, Histogram]
