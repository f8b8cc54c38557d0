"""python -m evenhand, and the command `evenhand`"""

import sys


def main() -> None:
    """`cli.main`, and the same end for an interrupt that comes before it is loaded."""
    try:
        from evenhand.cli import main as answer
    except KeyboardInterrupt:
        print("interrupted: nothing was begun.", file=sys.stderr)
        sys.exit(130)
    answer()


if __name__ == "__main__":
    main()
