"""A method that fails on purpose: leaves without a word."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def fit(self, train, context):
        import os

        os._exit(7)
