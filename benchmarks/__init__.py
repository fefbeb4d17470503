"""The measurements of `make bench`; see `docs/performance.md`."""
