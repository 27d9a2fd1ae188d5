"""A method that fails on purpose: starts a process that takes all memory."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def __init__(self, *, marker):
        self.marker = marker

    def fit(self, train, context):
        import subprocess
        import sys

        code = "import time; b = bytearray(900_000_000); time.sleep(60)"
        subprocess.run([sys.executable, "-c", code, self.marker])
