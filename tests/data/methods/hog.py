"""A method that fails on purpose: takes all memory."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def fit(self, train, context):
        import time

        self.blocks = []
        while True:
            self.blocks.append(bytearray(20_000_000))
            time.sleep(0.01)
