"""A method that fails on purpose: predicts NaN."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def predict(self, query):
        for part in super().predict(query):
            part.scores[:] = float("nan")
            yield part
