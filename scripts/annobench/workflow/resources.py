"""Memory and time of jobs beyond what YAML files state."""

HEADROOM_MB = 500  # of a job beyond its fit: Snakemake and the parent process
HEADROOM_MINUTES = 3
TABLE_MB_A_MILLION = 150  # ids and observations of a million cells, beyond what the method needs
TABLE_SECONDS_A_MILLION = 30  # to read them, verify their counts and write their predictions
