"""A method that leaves a process behind: in a session of its own, after the death of its parent."""

from annobench.methods.majority import Majority as Base


class Broken(Base):
    def __init__(self, *, marker, megabytes=0, waits=0):
        self.marker, self.megabytes, self.waits = marker, megabytes, waits

    def fit(self, train, context):
        import subprocess
        import sys
        import time

        code = (
            f"import os, time\nif os.fork(): os._exit(0)\nos.setsid()\n"
            f"if os.fork(): os._exit(0)\nmuch = bytearray(b'x') * ({self.megabytes} * 10**6)\ntime.sleep(600)"
        )
        subprocess.run([sys.executable, "-c", code, self.marker], check=True)
        time.sleep(self.waits)
        super().fit(train, context)
