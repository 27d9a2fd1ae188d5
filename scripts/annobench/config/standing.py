"""How a ranked method stands to the best of its evaluation: words of the table `ranking` (`against_best`)."""

BEST, SAME, NOT_APART, WORSE, NOT_TESTED = "best", "same score", "not told apart", "worse", "not tested"
TIED = (SAME, NOT_APART)  # whose place in the ranking says nothing
