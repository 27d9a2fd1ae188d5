"""Decodings of what a fit left, made when it is scored, or when a saved model annotates.

A file has `LABEL`, its name for people; `NEEDS`, attributes of `Given` without which it cannot be made; a dataclass
`Options` with literal defaults, which the study may change; and a function `decode(given, options)`.
"""
