"""A method that fails on purpose: never returns."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def fit(self, train, context):
        import subprocess
        import sys
        import time

        subprocess.Popen([sys.executable, "-c", f"import time; time.sleep(600)  # {context.seed}"])
        time.sleep(600)
