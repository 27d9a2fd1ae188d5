"""A method that fails on purpose: predicts NaN."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def predict(self, query):
        found = super().predict(query)
        found.scores[:] = float("nan")
        return found
