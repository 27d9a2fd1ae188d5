"""Controls: pseudo-methods and pseudo-labellings with a known answer, and what they are called and look like.

How they are computed is in `annobench.score.audit.controls`. Imported while the Snakefile is parsed: the standard
library only.
"""

from dataclasses import dataclass

_GREY = "#8C8C8C"


@dataclass(frozen=True)
class Control:
    """One control.

    Attributes
    ----------
    name
        As tables have it.
    label
        As figures have it.
    description
        As the text of the report has it.
    colour
        Of its points and lines; one grey for all, so that no control is taken for a method.
    """

    name: str
    label: str
    description: str
    colour: str = _GREY


# in the order of figures: what knows the truth first, what knows nothing of the cell last
CONTROLS = {
    control.name: control
    for control in (
        Control("oracle", "truth", "the truth"),
        Control("marker_argmax", "highest markers", "labels by the highest markers"),
        Control("merged", "merged truth", "the truth with subtypes merged"),
        Control("unrelated_tissue", "unrelated tissue", "a model of an unrelated tissue"),
        Control("batch_alone", "batch alone", "an embedding of the batch alone"),
        Control("depth_alone", "depth alone", "an embedding of the depth alone"),
        Control("majority", "majority", "the majority class"),
        Control("random_stratified", "random", "random labels"),
        Control("shuffled", "shuffled truth", "shuffled labels"),
        Control("noise", "noise", "noise"),
        Control("perturbed_mean", "mean of the perturbed", "the mean effect of perturbations"),
        Control("control_mean", "mean of the controls", "the mean of the control cells"),
        Control("shuffled_conditions", "another condition", "the cells of another condition"),
        Control("sign_flipped", "effect turned round", "effects turned round"),
    )
}
