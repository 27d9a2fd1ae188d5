"""A method that fails on purpose: asks for more than there can be."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def fit(self, train, context):
        import numpy as np

        np.ones(1 << 50)
