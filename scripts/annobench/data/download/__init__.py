"""Downloads: HTTP with resume and checksums, the package index, archives, the lock file of sources."""
