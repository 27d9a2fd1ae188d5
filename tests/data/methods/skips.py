"""A method that fails on purpose: does not suit this data."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def fit(self, train, context):
        from annobench.core.errors import MethodSkipped

        raise MethodSkipped("this data does not suit me")
