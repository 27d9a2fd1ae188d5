"""A method that fails on purpose: writes to a full disk."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def save(self, folder):
        with open("/dev/full", "w") as handle:
            handle.write("x" * 100_000)
