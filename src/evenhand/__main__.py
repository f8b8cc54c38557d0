"""python -m evenhand, and the command `evenhand`"""

import gc
import sys


def main() -> None:
    """`cli.main`, and the same end for an interrupt that comes before it is loaded.

    The garbage collector looks through young objects every 50,000 and not every 700: of the million that libraries for language models make
    while they load none is garbage, and the search for it took a sixth of that time.
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
