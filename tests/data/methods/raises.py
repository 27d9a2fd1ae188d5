"""A method that fails on purpose: raises while it trains."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def fit(self, train, context):
        raise ValueError("a bad day\nsecond line")
