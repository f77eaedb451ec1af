"""`python -m gailbench`."""

from gailbench.cli import main

if __name__ == "__main__":
    main()
