"""Labels that `annotate` adds to those of the method: decodings of its probabilities, with a saved model alone."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.config.decodings import AT_FIT, PROBABILITIES, decoding_facts, decodings
from annobench.config.plugins import plugins
from annobench.core.errors import AnnobenchError, ConfigError, nearest
from annobench.core.parquet import Categorical
from annobench.fit.annotate_job import DecodingOptions
from annobench.fit.annotated import Annotation
from annobench.fit.decoded import decode_given
from annobench.fit.decoding import Decoder
from annobench.fit.decodings.given import Chosen, Given
from annobench.fit.decodings.graph import ClassGraph
from annobench.ontology.ids import canonical

if TYPE_CHECKING:
    from annobench.fit.predictions import Predictions
    from annobench.fit.saved_model import SavedModel
    from annobench.ontology import Ontology


class NoDecodingError(AnnobenchError):
    """A saved model lacks what a decoding needs."""


class Decodings:
    """Decodings of the predictions of a saved model.

    Parameters
    ----------
    model
        The model.
    options
        Which decodings, and their options.

    Raises
    ------
    ConfigError
        There is no such decoding, or it has no such option.
    NoDecodingError
        The model lacks what a decoding needs.
    """

    def __init__(self, model: "SavedModel", options: DecodingOptions) -> None:
        for name in options.names:
            if name not in decodings():
                raise ConfigError(f"--decoding: there is no decoding '{name}'{nearest(name, decodings())}")
            if "clusters" in decoding_facts(name).needs and options.clusters is None:
                raise ConfigError(f"--decoding {name} goes with --clusters: a column of obs, or leiden")
            if "allowed" in decoding_facts(name).needs and options.allowed is None:
                raise ConfigError(f"--decoding {name} goes with --allowed FILE: ids of the types that can be there")
        # what looks at clusters looks at all cells at once, see `within_clusters`
        self.names = tuple(name for name in options.names if "clusters" not in decoding_facts(name).needs)
        self._model = model
        self._ontology: Ontology | None = model.ontology() if self.names else None
        self._options: dict[str, dict[str, float]] = {name: {} for name in self.names}
        if options.confidence is not None:
            able = [name for name in self.names if "confidence" in decoding_facts(name).options]
            if not able:
                raise ConfigError("--confidence goes with --decoding multilevel: it is the wanted confidence")
            self._options |= {name: {"confidence": options.confidence} for name in able}
        for name in self.names:
            if "temperature" in decoding_facts(name).needs and model.facts.temperature is None:
                raise NoDecodingError(
                    f"{model}: --decoding {name} needs calibrated probabilities, and the fit had no validation cells, "
                    "gives no probabilities, or kept no decision values; take another fit"
                )
        self._decoder: Decoder | None = None
        self._allowed = None if options.allowed is None else self._read_allowed(options.allowed)

    def _read_allowed(self, path: Path) -> list[str]:
        """Ids of a text file, the first word of every line; what follows # is left out.

        Raises ConfigError for what is no id, and where no class of the model is among them or below one.
        """
        assert self._ontology is not None
        try:
            lines = [line.partition("#")[0].split() for line in path.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--allowed {path}: cannot be read ({error}); expected a text file with ids") from error
        found = [canonical(words[0]) for words in lines if words]
        wrong = next((one for one in found if not re.fullmatch(r"CL:\d{7}", one)), None)
        if wrong:
            raise ConfigError(f"--allowed {path}: '{wrong}' is no Cell Ontology id; expected one such as CL:0000084")
        classes = self._model.facts.classes
        if not any({one, *self._ontology.ancestors(one)} & set(found) for one in classes):
            raise ConfigError(
                f"--allowed {path}: none of its {len(found)} types is one of the {len(classes)} classes of the model, "
                "or above one"
            )
        return found

    def labels(self) -> dict[str, str]:
        """Names of all labels that may be chosen, by id."""
        terms = {} if self._ontology is None else {key: term.label for key, term in self._ontology.terms.items()}
        return {**terms, **self._model.facts.labels}

    def __call__(self, predicted: "Predictions") -> dict[str, Chosen]:
        """Labels and confidences of some cells by every decoding."""
        return {name: self._choose(name, predicted) for name in self.names}

    def _choose(self, name: str, predicted: "Predictions") -> Chosen:
        needs = decoding_facts(name).needs
        if PROBABILITIES in needs and predicted.probabilities is None:
            raise NoDecodingError(
                f"{self._model}: --decoding {name} needs probabilities, which the method does not give"
            )
        assert self._ontology is not None
        if name in plugins(AT_FIT):
            assert predicted.probabilities is not None
            if self._decoder is None or self._decoder.classes != list(predicted.classes):
                self._decoder = Decoder(predicted.classes, self._ontology)
            codes, confidence = self._decoder(predicted.probabilities)[name]
            return Chosen(Categorical(codes, list(predicted.classes)), confidence)
        given = Given(
            labels=Categorical.of(predicted.labels[:, 0]),
            confidence=predicted.confidence,
            graph=ClassGraph(list(predicted.classes), self._ontology),
            probabilities=predicted.probabilities,
            temperature=self._model.facts.temperature,
            allowed=self._allowed,
        )
        return decode_given(name, given, self._options[name])


def within_clusters(blocks: Sequence[Annotation], clusters: Categorical) -> Iterator[Annotation]:
    """All cells, with the majority label of their cluster as the decoding `clusters`."""
    labels = Categorical.of(np.concatenate([block.labels[:, 0] for block in blocks]))
    parts = [block.confidence for block in blocks if block.confidence is not None]
    confidence = np.concatenate(parts) if parts else None
    chosen = decode_given("clusters", Given(labels=labels, confidence=confidence, clusters=clusters))
    start = 0
    for block in blocks:
        rows = slice(start, start + len(block.cell_ids))
        own = Chosen(chosen.labels[rows], chosen.confidence[rows])
        yield replace(block, decoded={**block.decoded, "clusters": own})
        start = rows.stop
