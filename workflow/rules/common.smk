"""
Common: the study that the configuration names, and the files that it makes.

in   config/config.yaml, or what --configfile puts over it
out  STUDY (validated and resolved), TARGETS (files of the study)
"""

import gc
import os
import sys
from pathlib import Path

# the graph of a large study is millions of objects that stay; looking for garbage among them takes an eighth of the time
gc.set_threshold(50_000, 50, 50)

# rules and drivers import the library of this checkout, whichever is installed in the environment
SCRIPTS = str(Path(workflow.basedir) / "scripts")
PYTHONPATH = os.environ.get("PYTHONPATH", "").split(os.pathsep)
sys.path.insert(0, SCRIPTS)
os.environ["PYTHONPATH"] = os.pathsep.join(
    dict.fromkeys([SCRIPTS, *filter(None, PYTHONPATH)])
)

from annobench.config.study import load_study
from annobench.core.paths import ROOT
from annobench.workflow.targets import Targets
from annobench.workflow.common import constraints_of, named_source, stop_with_message

with stop_with_message():
    STUDY = load_study(config, ROOT, named_source(workflow))

TARGETS = Targets(STUDY)


wildcard_constraints:
    **constraints_of(STUDY),
