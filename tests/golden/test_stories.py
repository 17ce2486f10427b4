"""Each story goes as its file says."""

import pytest

from tests.golden.stories import Story, stories


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.path.stem)
def test_a_story_goes_as_it_is_written(story: Story) -> None:
    """`python -m tests.golden --update` writes what changed; look at the difference before it is committed."""
    assert story.played() == story.written["passes"]


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.path.stem)
def test_a_story_is_short_enough_to_be_read(story: Story) -> None:
    assert len(story.path.read_text().splitlines()) <= 120
