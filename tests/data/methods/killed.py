"""A method that fails on purpose: is killed from outside."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def fit(self, train, context):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)
