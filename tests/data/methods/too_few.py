"""A method that fails on purpose: predicts half of the cells."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def predict(self, query):
        return super().predict(query[: query.n_obs // 2])
