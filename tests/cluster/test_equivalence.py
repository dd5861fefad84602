"""The same stream gives the same people on one machine and on the cluster, field by field."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts.cluster.recorded import recorded
from tests.cluster.equivalence import compare

from opportune.engine.workspace import load_workspace
from opportune.streams.config import ClusterConfig
from opportune.streams.engine import ClusterEngine
from opportune.streams.topics import Topics


def test_people_components_exposures_outcomes_and_decisions_are_the_same(
    config: ClusterConfig, topics: Topics, file: Path, tmp_path: Path
) -> None:
    found = compare(recorded(150), config, topics, file, tmp_path / "both", window=700, decisions=25)
    assert found.differ == []
    counts = found.counts
    assert counts["people of several browsers"] > 20, "the stream must hold people of several browsers"
    assert counts["sessions with events"] > 100, "and told sessions"
    assert counts["exposures"] > 50, "and people who were shown something"
    assert counts["outcomes attributed"] > 10, "and who acted on it"


@pytest.mark.parametrize("role", ["gateway", "decide"])
def test_a_process_does_only_what_its_role_says(
    config: ClusterConfig, topics: Topics, tmp_path: Path, role: str
) -> None:
    engine = ClusterEngine(config, topics, load_workspace(None), folder=tmp_path / "s", roles=(role,))
    try:
        if role == "gateway":
            with pytest.raises(Exception, match="this process does not decide"):
                engine.decide({"placement": "home_recs", "identifiers": {"user_id": "u1"}})
        else:
            with pytest.raises(Exception, match="this process does not accept events"):
                engine.admit([], kind=None, dialect="segment", source="s", received=0)
    finally:
        engine.close()
