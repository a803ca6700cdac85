"""Commands use the server and the namespace that TEMPORAL_* variables or a profile of temporal.toml name."""

from commandline import CommandLine, Installation, Worker, stopped
from world import EXPORT_HEADER

WEB = ("--region", "FR", "--channel", "web", "--accept-terms")


def test_commands_and_workers_meet_in_the_namespace_of_a_profile(
    cli: CommandLine, installation: Installation, user: str
) -> None:
    line = f"{user},2026-01-01 10:00:00,Spot,Deposit,SOL,12,"
    assert cli.run("import", cli.write("in.csv", f"{EXPORT_HEADER}\n{line}\n")).code == 0
    installation.create_namespace("rewards")
    cli.write("temporal.toml", f'[profile.staking]\naddress = "{installation.address}"\nnamespace = "rewards"\n')
    del cli.environment["TEMPORAL_ADDRESS"]
    cli.environment |= {"TEMPORAL_CONFIG_FILE": "temporal.toml", "TEMPORAL_PROFILE": "staking"}

    with stopped(Worker(cli.folder, cli.environment)) as worker:
        worker.wait_until_it_polls()
        receipt = cli.json("activate", user, *WEB)
        by_profile = cli.json("status", user)
        by_variables = cli.run(
            *("status", user, "--json"),
            TEMPORAL_CONFIG_FILE="",
            TEMPORAL_PROFILE="",
            TEMPORAL_ADDRESS=installation.address,
            TEMPORAL_NAMESPACE="rewards",
        ).json
        elsewhere = cli.run("status", user, "--json", TEMPORAL_NAMESPACE="default").json
        ended = worker.stop()

    assert (ended.code, ended.out) == (0, "")
    assert by_profile["enrolment_id"] == receipt["enrolment_id"]
    assert by_profile["state"] == "sleeping"
    assert by_variables == by_profile
    assert elsewhere["state"] == "not running"


def test_a_worker_in_a_missing_namespace_says_so(cli: CommandLine) -> None:
    ended = Worker(cli.folder, cli.environment | {"TEMPORAL_NAMESPACE": "nowhere"}).ended()

    assert (ended.code, ended.out) == (1, "")
    [sentence] = ended.sentences
    assert "no namespace 'nowhere'" in sentence
