"""A method that fails on purpose: crashes the interpreter."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def fit(self, train, context):
        import ctypes

        ctypes.string_at(0)
