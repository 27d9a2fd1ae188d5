"""Configuration: YAML files in, one validated and resolved study out.

Only the standard library, yaml and jsonschema are imported here, because every cluster job parses the Snakefile again.
"""

from annobench.config.evaluations import Split
from annobench.config.schema import load_yaml, schema_folder, validate
from annobench.config.study import Fit, Study, load_study

__all__ = ["Fit", "Split", "Study", "load_study", "load_yaml", "schema_folder", "validate"]
