"""Another root of the config is another sweep, whatever the overrides."""

from reasoning_lab.launch.identity import identity_of


def test_the_name_of_the_root_config_is_part_of_the_identity() -> None:
    given = identity_of(["seed=0,1"], None)
    assert given == identity_of(["seed=0,1"], None, "config")
    assert given != identity_of(["seed=0,1"], None, "other")
