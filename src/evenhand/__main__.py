"""python -m evenhand, and the command `evenhand`"""

import gc
import sys


def main() -> None:
    """`cli.main`, and the same end for an interrupt that comes before it is loaded.

    The garbage collector looks through young objects every 50,000 and not every 700: of the 700,000 that a fit on a language model loads one in
    fifty is garbage, and the search for it took a tenth of the time.
    """
    gc.set_threshold(50_000, 20, 20)
    try:
        from evenhand.cli import main as answer
    except KeyboardInterrupt:
        print("interrupted: nothing was begun.", file=sys.stderr)
        sys.exit(130)
    answer()


if __name__ == "__main__":
    main()
