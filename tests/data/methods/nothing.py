"""A method that fails on purpose: returns nothing."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def predict(self, query):
        return None
