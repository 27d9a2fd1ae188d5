"""Tables of a study, out of the scores and run records of its fits. Everything shown later is drawn from these."""
