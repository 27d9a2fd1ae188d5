"""What tables share: reading fits, intervals of contrasts, building and writing."""
