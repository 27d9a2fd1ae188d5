"""A method that fails on purpose: predicts other cells."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def predict(self, query):
        for part in super().predict(query):
            part.cell_ids[:] = [f"x{i}" for i in range(query.n_obs)]
            yield part
