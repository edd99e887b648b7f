"""Which classes of Caltech-101 show subjects that ImageNet-1K has no class for."""

from __future__ import annotations

#: Neither the subject itself, nor a kind of it, nor what it is a kind of, is one of ImageNet-1K's classes. Left out are
#: those where one may argue: bonsai (pot), ceiling_fan (electric fan), ewer (pitcher), ketch (yawl), minaret (mosque),
#: pagoda (stupa), watch (digital watch), wild_cat (lynx, tiger cat) and windsor_chair (other chairs).
OUTSIDE_IMAGENET = frozenset(
    [
        "Faces",
        "Faces_easy",
        "anchor",
        "bass",
        "brain",
        "brontosaurus",
        "buddha",
        "chandelier",
        "dollar_bill",
        "dolphin",
        "emu",
        "euphonium",
        "ferry",
        "garfield",
        "gerenuk",
        "gramophone",
        "hawksbill",
        "headphone",
        "helicopter",
        "ibis",
        "inline_skate",
        "joshua_tree",
        "lotus",
        "mandolin",
        "mayfly",
        "menorah",
        "metronome",
        "octopus",
        "okapi",
        "pigeon",
        "pyramid",
        "rhino",
        "scissors",
        "sea_horse",
        "snoopy",
        "stapler",
        "stegosaurus",
        "sunflower",
        "water_lilly",
        "wheelchair",
        "wrench",
        "yin_yang",
    ]
)
