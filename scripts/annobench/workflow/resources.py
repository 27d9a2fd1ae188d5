"""Memory and time of jobs beyond what YAML files state."""

HEADROOM_MB = 500  # what the job needs besides its fit: Snakemake and the watching process
HEADROOM_MINUTES = 3
TABLE_MB_A_MILLION = 150  # ids and annotations of a million cells, which a fit holds besides what its method needs
TABLE_SECONDS_A_MILLION = 30  # and to read them, check the bytes of their counts, and write what is predicted
