"""The cells contract: gene identity, expression states, panels, and counts in memory or in a store."""
