"""The Cell Ontology release of the corpus rules: the study's, or one of its own."""

from pathlib import Path

from annobench.core.progress import Report
from annobench.data.census.filters import local_file
from annobench.data.census.spec import CorpusSpec
from annobench.data.download.http import verified_file
from annobench.data.ontology import from_json, from_obo, from_wheel
from annobench.ontology import Ontology


def corpus_ontology(corpus: CorpusSpec, of_study: str | Path | None, report: Report) -> Ontology | None:
    """The ontology for the rules of a corpus; None if there are no rules.

    `corpus.ontology` names a file or download in OBO, OWL or JSON, else a release of the installed ontology guide.
    Without it the study's release is taken, a file that `Ontology.save` wrote. Raises DataError or DownloadError.
    """
    if corpus.root is None:
        return None
    own = corpus.ontology
    if own is None:
        assert of_study is not None  # the rule asks for it wherever nothing else is named
        return Ontology.load(of_study)
    if own.urls and own.file:
        path, _ = verified_file(own.urls, own.file, own.sha256, report)
    elif own.path:
        path = local_file(own.path)
    else:
        return from_wheel(own.release)
    return from_json(path, own.release) if ".json" in path.suffixes else from_obo(path, own.release)
