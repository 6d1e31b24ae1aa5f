from __future__ import annotations

import pytest

from pipelines.stages.keypoints_blazepose import BlazePoseWholeBody
from pipelines.stages.people import PeopleFilter


@pytest.fixture(scope="session")
def people_filter() -> PeopleFilter:
    return PeopleFilter()


@pytest.fixture(scope="session")
def whole_body() -> BlazePoseWholeBody:
    return BlazePoseWholeBody()
