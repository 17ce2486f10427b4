"""python -m tests.golden [--update]: plays every story, and says which differ from their files, or writes them."""

import sys

from tests.golden.stories import stories

if __name__ == "__main__":
    changed = [story for story in stories() if story.written.get("passes") != story.played()]
    for story in changed:
        if "--update" in sys.argv[1:]:
            story.update()
        sys.stdout.write(f"{story.path.name}\n")
    sys.exit(bool(changed) and "--update" not in sys.argv[1:])
