"""Is a metric evidence? Every metric on labellings whose worth is known, and a verdict by stated rules."""
