"""`python -m app COMMAND`."""

import sys

if __name__ == "__main__":
    try:
        from app.cli import main  # here, for Ctrl-C while it is imported

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
