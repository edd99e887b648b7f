"""The words of the lesson: its steps, the misconceptions it answers, and its quiz. Page and hand-out read the same."""

from __future__ import annotations

from dataclasses import dataclass

from ..analysis.stages import Stage


@dataclass(frozen=True)
class Facts:
    """What the steps' sentences say of the picture and network at hand.

    Attributes:
        picture: Title of the picture.
        network: Name of the network, for people.
        layer: Number of the layer that is followed.
        m, g, size: Its channels, subspaces, and channels of a subspace.
        h, w: Its grid.
        k: The subspace that is followed, from 1.
        channel: The channel, numbered from 0 within the layer.
        row, column: The place, from 0.
        target: The class that questions are asked of.
        params, macs: Of the whole network, in millions.
    """

    picture: str
    network: str
    layer: int
    m: int
    g: int
    size: int
    h: int
    w: int
    k: int
    channel: int
    row: int
    column: int
    target: str
    params: float
    macs: float

    @property
    def places(self) -> int:
        """Positions of the grid."""
        return self.h * self.w

    @property
    def mean_gain(self) -> float:
        """Mean of every gain map, 1 + 1/(H * W)."""
        return 1 + 1 / self.places

    @property
    def module_macs(self) -> float:
        """Of one module, in millions: 2 m h w."""
        return 2 * self.m * self.places / 1e6

    @property
    def share_of_macs(self) -> float:
        """Of one module in the network's, in percent."""
        return 100 * self.module_macs / self.macs


@dataclass(frozen=True)
class Step:
    """One idea.

    Attributes:
        title: Unique; it is the step's address.
        chapter: Which part of the way it belongs to.
        text: Two or three sentences, with ``{f.name}`` for :class:`Facts`.
        stage: The stage of the module that it shows, for the steps that go through one.
    """

    title: str
    chapter: str
    text: str
    stage: Stage | None = None

    def write(self, facts: Facts) -> str:
        """Return the text with the facts of the picture and network at hand."""
        return self.text.format(f=facts)


_IDEA, _THROUGH, _WHOLE = "The idea", "Through one subspace", "The whole"
STEPS = (
    Step(
        "Why attention",
        _IDEA,
        "A small network has few features, and spends the same work on every place of the picture. *Spatial attention* lets it weigh places: here the "
        "maps say where each group of features of layer {f.layer} is made stronger. ULSAM does it with {f.module_macs:.2f} million multiply-accumulates, "
        "{f.share_of_macs:.2f} % of this network's {f.macs:.0f} million.",
    ),
    Step(
        "The channels of a layer",
        _IDEA,
        "Layer {f.layer} describes the picture by {f.m} *channels*, each a map of {f.h} × {f.w} places: how much of one learnt feature is where. "
        "Some follow edges, some textures, some parts; some say nothing about this picture.",
    ),
    Step(
        "Splitting into subspaces",
        _IDEA,
        "ULSAM cuts the {f.m} channels, in their order, into g = {f.g} *subspaces* of {f.size}. Each subspace gets **one** attention map, which all its channels share. "
        "Nobody sorts the channels first: training has to make the best of the cut. Move g: every stop is a network of its own.",
    ),
    Step(
        "Depthwise weight",
        _THROUGH,
        "Follow channel {f.channel} of subspace {f.k}. First each channel is multiplied by a weight of its own, and a bias is added: a 1 × 1 *depthwise* "
        "convolution. It looks at one channel and one place at a time, so it costs one multiplication a value.",
        "depthwise",
    ),
    Step(
        "BatchNorm",
        _THROUGH,
        "*BatchNorm* subtracts the channel's mean and divides by its standard deviation, both learnt from the training pictures, then scales and shifts again. In use it is "
        "one scale and one shift, so together with the step before it is a single multiplication and addition.",
        "normed",
    ),
    Step(
        "ReLU",
        _THROUGH,
        "*ReLU* sets what is negative to 0. With the weight before it, which may be negative, each channel chooses what counts: where its feature is strong, "
        "or where it is weak.",
        "rectified",
    ),
    Step(
        "Max-pool",
        _THROUGH,
        "Each place takes the largest value of itself and its 8 neighbours (at the border there are fewer). Spots grow to 3 × 3: a feature that is near counts, too. "
        "It is the only step of the module where neighbours meet.",
        "pooled",
    ),
    Step(
        "Pointwise sum",
        _THROUGH,
        "Now the {f.size} channels of subspace {f.k} become **one** number a place: a weighted sum, a 1 × 1 *pointwise* convolution. "
        "Channels with a positive weight call for attention, those with a negative one speak against it.",
        "pointwise",
    ),
    Step(
        "BatchNorm of the map",
        _THROUGH,
        "The one map of subspace {f.k} is normalised as the channels were. How far its values are spread decides how sharp the attention can become.",
        "pointwise_normed",
    ),
    Step(
        "ReLU of the map",
        _THROUGH,
        "ReLU once more: all places below 0 become equal. If that happens everywhere, the map will be uniform for this picture: a *dead* map, which expresses no preference.",
        "logits",
    ),
    Step(
        "Softmax",
        _THROUGH,
        "*Softmax* raises e to each value and divides by the sum over all {f.places} places, so that the map sums to 1. No preference is "
        "1/{f.places} everywhere; that is why maps are shown in *multiples of uniform*. Each place competes with all others.",
        "attention",
    ),
    Step(
        "Gain",
        _THROUGH,
        "Features are not replaced by attention, they are multiplied by the *gain* 1 + A. Its mean is 1 + 1/{f.places} = {f.mean_gain:.4f}, whatever the picture: "
        "the re-weighting is gentle, even where the map looks dramatic.",
        "gain",
    ),
    Step(
        "Output and joining",
        _THROUGH,
        "Every channel of subspace {f.k} is multiplied by the same gain map. The {f.g} subspaces are put together in their old order, and layer {f.layer} hands on "
        "{f.m} channels as before: a module can be put in anywhere.",
        "output",
    ),
    Step(
        "What changes with g",
        _WHOLE,
        "More subspaces give more maps from fewer channels each; parameters and multiplications hardly change. Whether the maps become more varied, or only more, "
        "is seen here, for the picture at hand. Accuracy does not follow g: see Evidence.",
    ),
    Step(
        "Where to put it",
        _WHOLE,
        "Early layers have fine grids and simple features, late ones coarse grids and parts of objects. A softmax over more places has smaller values: the mean gain is 1.005 at "
        "14 × 14, and 1.0003 at 56 × 56. The fewer places there are, the larger the gain can be.",
    ),
    Step(
        "What it costs",
        _WHOLE,
        "ULSAM has the fewest parameters of its kind, and few multiplications. But most of its steps are *element-wise*: they do little arithmetic and move every value through memory, "
        "which neither figure counts. So the time is measured, too: as the paper's code does it, and rewritten.",
    ),
    Step(
        "How to read a map, and how not to",
        _WHOLE,
        "A map says where a group of features is made stronger, by how much, for this picture. It does not say why the network answered, or that the place mattered. "
        "Six sentences that sound right are below, with what is true instead.",
    ),
)


@dataclass(frozen=True)
class Misconception:
    """A sentence that sounds right, and what is true; ``{f.name}`` as in :class:`Step`, ``{n.name}`` for live numbers."""

    claim: str
    truth: str


MISCONCEPTIONS = (
    Misconception(
        "The bright places are the important ones.",
        "Bright means: the gain is larger there, at most {peak_gain:.3f} in this map. Whether that matters is another question: taking this subspace's attention away moves the logit of “{f.target}” "
        "by {effect:+.4f}, of {logit:.1f}.",
    ),
    Misconception(
        "Each channel has its own attention map.",
        "One map for each *subspace*: the {f.size} channels of subspace {f.k} all get the same gain. With g = {f.m} each channel would have its own.",
    ),
    Misconception(
        "The attention looks for the class.",
        "The map is computed before any class is: it is the same whichever class you ask about. An *attribution* belongs to a class; it is computed afterwards, and stands beside the maps on Inspect.",
    ),
    Misconception(
        "A mean gain of {f.mean_gain:.4f} is a mistake, it must be larger.",
        "A softmax sums to 1 over {f.places} places, so the mean of A is 1/{f.places} and the mean gain 1 + 1/{f.places}. It cannot be otherwise; only the distribution over places is free.",
    ),
    Misconception(
        "More subspaces are better.",
        "They are more maps from fewer channels. In our trainings the differences in accuracy between g lie within what chance explains (see Evidence), as do the few tenths of a percent in the paper's tables.",
    ),
    Misconception(
        "Few parameters and few FLOPs mean fast.",
        "Only if arithmetic is what takes the time. Here moving values through memory does: written as in the paper's code the module takes many times longer than rewritten, with the same FLOPs. See “What it costs”.",
    ),
)


@dataclass(frozen=True)
class Question:
    """One question of the quiz.

    Attributes:
        text: The question.
        answers: To choose from.
        right: Index of the right one.
        reason: Why, from what the lesson showed.
        step: Title of the step to look at again.
    """

    text: str
    answers: tuple[str, ...]
    right: int
    reason: str
    step: str


QUIZ = (
    Question(
        "A layer has 256 channels and g = 4. How many attention maps does its module make, and who uses them?",
        (
            "256: one for each channel",
            "4: each is shared by 64 neighbouring channels",
            "4: each is used by all 256 channels",
            "1: it is split into 4 parts of the picture",
        ),
        1,
        "The channels are cut, in their order, into 4 subspaces of 64; each has one map that all its channels share.",
        "Splitting into subspaces",
    ),
    Question(
        "On a 14 × 14 grid a map has the value 0.0051 everywhere. What does it say?",
        (
            "It is broken: the values should be near 1",
            "The network pays little attention to the whole picture",
            "It prefers no place: 1/196 is uniform, and the gain is the same everywhere",
            "The subspace is switched off, its features are 0",
        ),
        2,
        "1/196 = 0.0051 is what a softmax over 196 places gives without any preference. The features pass with the even gain 1.0051.",
        "Softmax",
    ),
    Question(
        "Why can a map be exactly uniform for one picture and lively for another?",
        (
            "Max-pool removes all differences",
            "The ReLU before the softmax sets all negative values to 0, and equal values give equal weights",
            "BatchNorm divides by zero",
            "The weights change from picture to picture",
        ),
        1,
        "Where every value is below 0 for a picture, the ReLU makes all places equal. The weights are the same for every picture.",
        "ReLU of the map",
    ),
    Question(
        "A map's peak is 10 times uniform at 14 × 14. By how much are the features multiplied there?",
        ("By 10", "By about 1.05", "By about 11", "By 1.005"),
        1,
        "A = 10/196 = 0.051, and the gain is 1 + A = 1.051. The mean gain is 1.005.",
        "Gain",
    ),
    Question(
        "You ask for another target class. What happens to the attention maps?",
        (
            "Nothing: they are computed before any class is",
            "They move to the new class",
            "They become weaker, because the class is less probable",
            "Only the brightest subspace changes",
        ),
        0,
        "Attention lies inside the network and knows no class. Attributions are computed afterwards, for a class, and do change.",
        "How to read a map, and how not to",
    ),
    Question(
        "A module has 2·m parameters and 2·m·h·w multiplications. Why can it still be slow?",
        (
            "The multiplications of attention are harder than others",
            "A softmax cannot be computed on a CPU",
            "Most of its steps are element-wise: moving values through memory takes the time, and FLOPs do not count that",
            "It is only slow for g = 1",
        ),
        2,
        "Scale, shift, ReLU, pool and gain each read and write every value and compute almost nothing. Rewritten with fewer passes, the same function takes a fraction of the time.",
        "What it costs",
    ),
)
