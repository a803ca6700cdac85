"""sources: the feeds that must report a day's end before it is closed."""

from commandline import CommandLine


def test_a_source_is_reported_listed_released_and_removed(alone: CommandLine) -> None:
    assert "there are no sources" in alone.run("sources", "list").out
    told = alone.json("sources", "complete", "wallet", "2026-10-02T00:00:00Z")
    assert (told["name"], told["complete_through"][:10], told["released_through"]) == (
        "wallet",
        "2026-10-02",
        None,
    )
    lower = alone.run("sources", "complete", "wallet", "2026-10-01")
    assert (lower.code, lower.out) == (0, "wallet: complete through 2026-10-02 00:00:00 UTC\n")

    released = alone.json("sources", "release", "wallet", "--reason", "its database is lost")

    assert released["released_through"] > told["complete_through"]
    assert "2026-10-02 00:00:00 UTC" in alone.run("sources", "list").out
    assert alone.run("sources", "remove", "wallet", "--reason", "replaced").out == "the source wallet is removed\n"
    assert alone.json("sources", "list") == []
    assert [act["act"] for act in alone.json("acts")] == ["source_release", "source_remove"]


def test_an_unknown_source_is_refused_and_a_malformed_name_is_wrong_usage(alone: CommandLine) -> None:
    assert alone.run("sources", "release", "wallet", "--reason", "late").code == 1
    assert alone.run("sources", "complete", "a b", "2026-10-01").code == 2
    assert alone.run("sources", "complete", "wallet", "soon").code == 2
    assert alone.run("sources", "complete", "wallet", "2100-01-01").code == 1
