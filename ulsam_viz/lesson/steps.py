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
        normalised: Whether the gain is this project's, (1 + H * W * A) / 2, in place of the paper's 1 + A.
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
    normalised: bool = False

    @property
    def places(self) -> int:
        """Positions of the grid."""
        return self.h * self.w

    @property
    def mean_gain(self) -> float:
        """Mean of every gain map: 1 + 1/(H * W), or 1 where it is normalised."""
        return 1.0 if self.normalised else 1 + 1 / self.places

    @property
    def gain_is(self) -> str:
        """What the gain is."""
        if self.normalised:
            return (
                "Features are multiplied by the *normalised gain* (1 + H·W·A) / 2: ours, not the paper's 1 + A, which "
                "hardly acts."
            )
        return "Features are multiplied by the *gain* 1 + A: gentle, however dramatic the map looks."

    @property
    def gain_does(self) -> str:
        """What its parts do, and its mean."""
        if self.normalised:
            return (
                f"H·W·A = {self.places} · A is the attention in multiples of uniform. Its mean is 1, so the gain's "
                "mean is 1 too, whatever the picture: a place that is attended to is strengthened, others are "
                "weakened, down to a half. The half that stays is the *residual*."
            )
        return (
            f"The 1, the *residual*, keeps them: A alone is tiny. The gain's mean is 1 + 1/{self.places} = "
            f"{self.mean_gain:.4f}, whatever the picture."
        )

    @property
    def little_changes(self) -> str:
        """What is seen of features before and after the gain."""
        return "places are set apart." if self.normalised else "little changes."

    @property
    def gain_by_grid(self) -> str:
        """How the mean gain depends on the grid."""
        if self.normalised:
            return "but the normalised gain's mean is 1 on every grid."
        return (
            "the mean gain is 1.005 at 14 × 14, and 1.0003 at 56 × 56. The fewer places there are, the larger the mean "
            "gain."
        )

    @property
    def claim_of_mean(self) -> str:
        """What sounds right about the mean gain, and is not."""
        if self.normalised:
            return "A mean gain of exactly 1 means that attention does nothing."
        return f"A mean gain of {self.mean_gain:.4f} is a mistake, it must be larger."

    @property
    def truth_of_mean(self) -> str:
        """What is true instead."""
        if self.normalised:
            return (
                f"The mean is 1 because A sums to 1 over {self.places} places and is multiplied by {self.places}. What "
                "is given to one place is taken from the others: the differences between places act, not their mean."
            )
        return (
            f"A softmax sums to 1 over {self.places} places, so the mean of A is 1/{self.places} and the mean gain 1 + "
            f"1/{self.places}. It cannot be otherwise; only the distribution over places is free."
        )

    @property
    def module_macs(self) -> float:
        """Of one module, in millions: 2 m h w."""
        return 2 * self.m * self.places / 1e6

    @property
    def module_values(self) -> int:
        """All parameters of one module: weights, biases, and scale and shift of its norms."""
        return 5 * self.m + 3 * self.g

    @property
    def sharing(self) -> str:
        """Who shares a map."""
        if self.size == 1:
            return (
                f"with g = {self.g} = m these are one and the same here; with fewer subspaces, all channels of one get "
                "the same gain."
            )
        return (
            f"the {self.size} channels of subspace {self.k} all get the same gain. With g = {self.m} each channel "
            "would have its own."
        )

    @property
    def share_of_macs(self) -> float:
        """Of one module in the network's, in percent."""
        return 100 * self.module_macs / self.macs


@dataclass(frozen=True)
class Step:
    """One idea.

    Attributes:
        id: Unique and lasting; it is the step's address.
        title: For people.
        chapter: Which part of the way it belongs to.
        text: One or two sentences, with ``{f.name}`` for :class:`Facts`.
        more: What can be read after them.
        stage: The stage of the module that it shows, for the steps that go through one.
    """

    id: str
    title: str
    chapter: str
    text: str
    more: str = ""
    stage: Stage | None = None

    def write(self, facts: Facts) -> tuple[str, str]:
        """Return the text, and the rest of it, with the facts of the picture and network at hand."""
        return self.text.format(f=facts), self.more.format(f=facts)


_IDEA, _THROUGH, _WHOLE = "The idea", "Through one subspace", "The whole"
STEPS = (
    Step(
        "why",
        "Why attention",
        _IDEA,
        "*Spatial attention* multiplies features by a little more in some places of the picture than in others. Each "
        "map says where, for one group of features.",
        "A small network has few features, and by itself treats all positions the same. *ULSAM* (Ultra-Lightweight "
        "Subspace Attention Module, Saini et al. 2020) needs {f.module_macs:.2f} million multiply-accumulates (MACs) "
        "for it, {f.share_of_macs:.2f} % of this network's {f.macs:.0f} million.",
    ),
    Step(
        "channels",
        "The channels of a layer",
        _IDEA,
        "Layer {f.layer} describes the picture by {f.m} *channels*, each a map of {f.h} × {f.w} places: how much of "
        "one learnt feature is where.",
        "What a channel has learnt to answer to can only be guessed from where it is strong.",
    ),
    Step(
        "subspaces",
        "Splitting into subspaces",
        _IDEA,
        "ULSAM cuts the {f.m} channels, in their order, into g = {f.g} *subspaces* of {f.size}. Each gets **one** "
        "attention map, which all its channels share.",
        "Nobody sorts the channels first: training has to make the best of the cut. Move g: every stop is a network of "
        "its own.",
    ),
    Step(
        "depthwise",
        "Depthwise weight",
        _THROUGH,
        "Each channel is multiplied by a weight of its own, and a bias is added: a 1 × 1 *depthwise* convolution.",
        "It looks at one channel and one place at a time, so it costs one multiplication a value. Channel {f.channel} "
        "of subspace {f.k} is followed.",
        "depthwise",
    ),
    Step(
        "batchnorm",
        "BatchNorm",
        _THROUGH,
        "*BatchNorm* subtracts the channel's mean and divides by its standard deviation, then scales and shifts by two "
        "learnt numbers.",
        "Mean and deviation were measured over the training pictures. In use it is one scale and one shift, so "
        "together with the step before it is a single multiplication and addition.",
        "normed",
    ),
    Step(
        "relu",
        "ReLU",
        _THROUGH,
        "*ReLU* sets what is negative to 0.",
        "With the weight before it, which may be negative, each channel chooses what counts: where its feature is "
        "strong, or where it is weak.",
        "rectified",
    ),
    Step(
        "max-pool",
        "Max-pool",
        _THROUGH,
        "Each place takes the largest value of itself and its 8 neighbours: spots grow to 3 × 3.",
        "A feature that is near counts, too; at the border there are fewer neighbours. Before the softmax, it is the "
        "only step where neighbours meet.",
        "pooled",
    ),
    Step(
        "pointwise",
        "Pointwise sum",
        _THROUGH,
        "From the channels of subspace {f.k}, {f.size} here, comes **one** number per place: a weighted sum, a 1 × 1 "
        "*pointwise* convolution.",
        "Channels with a positive weight call for attention, those with a negative one speak against it.",
        "pointwise",
    ),
    Step(
        "map-batchnorm",
        "BatchNorm of the map",
        _THROUGH,
        "The one map of subspace {f.k} is normalised as the channels were.",
        "How far its values are spread decides how sharp the attention can become.",
        "pointwise_normed",
    ),
    Step(
        "map-relu",
        "ReLU of the map",
        _THROUGH,
        "ReLU once more: all places below 0 become equal.",
        "If that happens everywhere, the map will be uniform for this picture: a *dead* map, which expresses no "
        "preference. The sandbox begins with one.",
        "logits",
    ),
    Step(
        "softmax",
        "Softmax",
        _THROUGH,
        "*Softmax* raises e to each value, then divides by the sum over all {f.places} places.",
        "No preference is 1/{f.places} everywhere; that is why maps are shown in *multiples of uniform*. Each place "
        "competes with all others. (Dividing by a *temperature* first would sharpen the map or even it out; a sigmoid "
        "would weigh each place by itself: see Experiments.)",
        "attention",
    ),
    Step(
        "gain",
        "Gain",
        _THROUGH,
        "{f.gain_is}",
        "{f.gain_does}",
        "gain",
    ),
    Step(
        "output",
        "Output and joining",
        _THROUGH,
        "Every channel of subspace {f.k} is multiplied by the same gain map. Before and after are on one scale: "
        "{f.little_changes}",
        "The {f.g} subspaces are put together in their old order, and layer {f.layer} hands on "
        "{f.m} channels as before: a module can be put in anywhere.",
        "output",
    ),
    Step(
        "groups",
        "What changes with g",
        _WHOLE,
        "More subspaces give more maps, from fewer channels each.",
        "Parameters hardly change (three numbers a map), MACs not at all. Whether the maps become more varied, or only "
        "more, is seen here, for the picture at hand. Accuracy does not follow g: see Evidence.",
    ),
    Step(
        "positions",
        "Where to put it",
        _WHOLE,
        "Early layers have fine grids and simple features, late ones coarse grids and parts of objects.",
        "A softmax over more places has smaller values: {f.gain_by_grid}",
    ),
    Step(
        "cost",
        "What it costs",
        _WHOLE,
        "The table sets ULSAM beside other attention modules of a layer of this size. But MACs do not tell the time.",
        "Most of ULSAM's steps count none and still read and write every value, and equal MACs can take very different "
        "times. So the time is measured, step by step: as the paper's code does it, and rewritten.",
    ),
    Step(
        "reading",
        "How to read a map, and how not to",
        _WHOLE,
        "A map says where a group of features is made stronger, by how much. It does not say why the network answered, "
        "or that the place mattered.",
        "Six sentences that sound right are below, with what is true instead.",
    ),
)


@dataclass(frozen=True)
class Misconception:
    """A sentence that sounds right, and what is true.

    ``{f.name}`` as in :class:`Step`, ``{n.name}`` for live numbers.
    """

    claim: str
    truth: str


MISCONCEPTIONS = (
    Misconception(
        "The bright places are the important ones.",
        "Bright means: the gain is larger there, at most {peak_gain:.3f} for subspace {f.k}. Whether that matters is "
        "another question{effect}.",
    ),
    Misconception(
        "Each channel has its own attention map.",
        "One map for each *subspace*: {f.sharing}",
    ),
    Misconception(
        "The attention looks for the class.",
        "The map is computed before any class is: it is the same whichever class you ask about (choose another target "
        "in the sidebar: the maps above stay). An *attribution* belongs to a class; it is computed afterwards, and "
        "stands beside the maps on Inspect.",
    ),
    Misconception(
        "{f.claim_of_mean}",
        "{f.truth_of_mean}",
    ),
    Misconception(
        "More subspaces are better.",
        "They are more maps from fewer channels. Our trainings: {differences} In the paper's ImageNet tables g changes "
        "top-1 by at most {paper_range:.1f} points at one place, and no g is best everywhere.",
    ),
    Misconception(
        "Few parameters and few MACs mean fast.",
        "Only if every MAC took the same time, and nothing else any. Written as in the paper's code this module takes "
        "many times longer than rewritten, for the same sums: calls that use the processor badly, and pools and norms "
        "that count no MAC at all. See the measured steps under “What it costs”.",
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
        step: Id of the step to look at again.
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
        "subspaces",
    ),
    Question(
        "On a 14 × 14 grid a map has the value 0.0051 everywhere. What does it say?",
        (
            "The module is broken: after a softmax the values should be near 1",
            "The network pays little attention to this picture as a whole",
            "No place is preferred: 1/196 is uniform, the gain is even",
            "The subspace is switched off: its features are multiplied by 0.0051",
        ),
        2,
        "1/196 = 0.0051 is what a softmax over 196 places gives without any preference. The features pass with the "
        "even gain 1.0051.",
        "softmax",
    ),
    Question(
        "A map is exactly uniform for one picture and lively for another. How can that be?",
        (
            "For the first, the max-pool has spread one large value over all places",
            "For the first, the last ReLU has set every place to 0",
            "For the first, BatchNorm has divided by a deviation of zero",
            "The pointwise weights are computed anew from each picture",
        ),
        1,
        "Where every value is below 0 for a picture, the ReLU makes all places equal, and equal values get equal "
        "weights. The weights are the same for every picture.",
        "map-relu",
    ),
    Question(
        "A map's peak is 10 times uniform at 14 × 14. By how much are the features multiplied there?",
        ("By 10", "By about 1.05", "By about 11", "By 1.005"),
        1,
        "A = 10/196 = 0.051, and the gain is 1 + A = 1.051. The mean gain is 1.005.",
        "gain",
    ),
    Question(
        "You ask about “cup” instead of “nautilus”. What happens to the attention maps?",
        (
            "Nothing at all",
            "They move to where the cup is",
            "They become weaker, because “cup” is less probable",
            "Only the subspace that stands for cups changes",
        ),
        0,
        "Attention lies inside the network and is computed before any class is. Attributions are computed afterwards, "
        "for a class, and do change.",
        "reading",
    ),
    Question(
        "Two programs compute the same module with the same MACs; one takes several times longer. What can explain it?",
        (
            "The slower one must use more parameters",
            "MACs say nothing of how well a step suits the processor, and leave many steps out",
            "The slower one multiplies larger numbers, which takes longer",
            "Nothing: with the same MACs the times must be equal up to noise",
        ),
        1,
        "The measured steps show it: time does not follow the MACs. DW and PW count the same, and take very different "
        "times; norms, ReLUs, pool and gain count none, but each reads and writes every value.",
        "cost",
    ),
)
