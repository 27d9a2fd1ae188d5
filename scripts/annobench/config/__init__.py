"""Configuration: YAML files in, one validated and resolved study out.

Only the standard library, yaml and jsonschema are imported here, because every cluster job parses the Snakefile again.
"""

from annobench.config.evaluations import Split
from annobench.config.results import Fit, Results, View
from annobench.config.schema import load_yaml, schema_folder, validate
from annobench.config.study import Study, load_study

__all__ = ["Fit", "Results", "Split", "Study", "View", "load_study", "load_yaml", "schema_folder", "validate"]
