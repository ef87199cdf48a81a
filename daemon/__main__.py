"""`python -m daemon` is `intentd`."""

from daemon.cli import main

if __name__ == "__main__":
    main()
