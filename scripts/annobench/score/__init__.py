"""Score: predictions meet the truth, and every metric meets controls with a known answer (score.smk)."""
