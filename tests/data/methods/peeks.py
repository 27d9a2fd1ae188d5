"""A method that fails on purpose: looks for the labels of the test cells."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def predict(self, query):
        hidden = {"label_id", "label", "label_original"} & set(query.obs.columns)
        if hidden:
            raise AssertionError(f"the test cells carry {hidden}")
        return super().predict(query)
