"""A method that fails on purpose: predicts other cells."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def predict(self, query):
        found = super().predict(query)
        found.cell_ids[:] = [f"x{i}" for i in range(query.n_obs)]
        return found
