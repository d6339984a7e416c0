"""``python -m countae``."""

from countae.cli import main

if __name__ == "__main__":
    main()
