"""`python -m app COMMAND`."""

import sys

if __name__ == "__main__":
    try:
        from app.cli import main  # here, because Ctrl-C may come during the import

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
