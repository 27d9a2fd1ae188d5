"""Tests of the Census source. They run in processes of their own, see tests/unit/test_census.py."""

import os

collect_ignore_glob = [] if os.environ.get("ANNOBENCH_OWN_PROCESS") else ["test_*.py"]
