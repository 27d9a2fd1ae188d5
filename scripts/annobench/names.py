"""Names that configuration and library share; no imports."""

ARGMAX = "argmax"  # the answer that every fit gives
DECODINGS = ("leaf", "top_down")  # answers that are decoded from its probabilities besides (annobench.decoding)
