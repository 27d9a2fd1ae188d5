"""A method that fails on purpose: never returns."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def __init__(self, *, marker=""):
        self.marker = marker

    def fit(self, train, context):
        import subprocess
        import sys
        import time

        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", self.marker])
        time.sleep(600)
