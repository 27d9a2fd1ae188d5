"""A method that fails on purpose: keeps a known amount of memory."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def fit(self, train, context):
        import numpy as np

        self.block = np.ones(50_000_000)  # 400 MB
        super().fit(train, context)
        del self.block
