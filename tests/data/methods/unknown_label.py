"""A method that fails on purpose: predicts a label that nobody trained."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def predict(self, query):
        for part in super().predict(query):
            part.labels[0, 0] = "CL:0000540"
            yield part
