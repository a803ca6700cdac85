"""The files in deploy/ fit the code: commands, settings, ports, files, versions, and the links of alerts."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer.main
import yaml

import starter
import worker
from running.installation import STOPPED_WITHIN
from settings import Settings
from telemetry.address import Address
from web.health import ANSWERS_WITHIN_S

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
RUNBOOK = ROOT / "docs" / "alerts.md"
FILES = [file for file in sorted(DEPLOY.rglob("*")) if file.is_file()]
TEXT = {file: file.read_text(encoding="utf-8") for file in FILES}
YAML = {file: [*yaml.safe_load_all(text)] for file, text in TEXT.items() if file.suffix in (".yaml", ".yml")}
CONTAINERFILE = TEXT[DEPLOY / "Containerfile"].replace("\\\n", "")
COMPOSE: dict[str, Any] = YAML[DEPLOY / "compose.yaml"][0]
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OBJECTS: list[dict[str, Any]] = [
    found for file in YAML if file.parent.name == "kubernetes" for found in YAML[file]
]
(CONFIG,) = (found["data"] for found in OBJECTS if found["kind"] == "ConfigMap")
ALERTS = [rule for group in YAML[DEPLOY / "prometheus" / "alerts.yml"][0]["groups"] for rule in group["rules"]]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION: str = PROJECT["project"]["version"]
OUR_IMAGE = f"soft-staking:{VERSION}"


@dataclass(frozen=True)
class Container:
    """A container, of the image itself, of Compose or of Kubernetes."""

    name: str
    image: str
    words: tuple[str, ...]
    probes: tuple[tuple[str, float], ...]
    """The paths at which its health is asked for, and how long it has to answer."""
    stops_within_s: float | None = None
    ports: frozenset[int] = frozenset()
    """The ports that the container says it listens on."""

    @property
    def is_a_worker(self) -> bool:
        return self.words[:3] == ("python", "-m", "worker")

    @property
    def options(self) -> dict[str, str]:
        """The values of the command line's options, however they are written."""
        words = [part for word in self.words for part in (word.split("=", 1) if word[:2] == "--" else [word])]
        return {name: value for name, value in pairwise(words) if name.startswith("--")}


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def in_the_image() -> Container:
    (command,) = re.findall(r"^CMD (\[.*\])$", CONTAINERFILE, flags=re.M)
    ((timeout_s, url),) = re.findall(
        r"^HEALTHCHECK .*--timeout=(\d+)s .*(http://[^']+)", CONTAINERFILE, flags=re.M
    )
    return Container("Containerfile", OUR_IMAGE, (*json.loads(command),), ((url, float(timeout_s)),))


def of_compose() -> Iterator[Container]:
    for name, service in SERVICES.items():
        health = service.get("healthcheck", {})
        urls = re.findall(r"http://[^']+", " ".join(health.get("test", ())))
        yield Container(
            f"compose {name}",
            service["image"],
            (*service.get("command", ()),),
            tuple((url, _seconds(health["timeout"])) for url in urls),
            _seconds(service["stop_grace_period"]) if "stop_grace_period" in service else None,
        )


def in_pods() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """A name, a container, and the pod that it is in."""
    for found in OBJECTS:
        pod = found.get("spec", {}).get("template", {}).get("spec", {})
        for container in (*pod.get("initContainers", ()), *pod.get("containers", ())):
            yield f"{found['kind']} {found['metadata']['name']} {container['name']}", container, pod


def of_kubernetes() -> Iterator[Container]:
    for name, container, pod in in_pods():
        probes = [probe for key, probe in container.items() if key.endswith("Probe")]
        yield Container(
            name,
            container["image"],
            (*container["command"],),
            tuple(
                (f"http://:{probe['httpGet']['port']}{probe['httpGet']['path']}", probe.get("timeoutSeconds", 1))
                for probe in probes
            ),
            pod.get("terminationGracePeriodSeconds"),
            frozenset(port["containerPort"] for port in container.get("ports", ())),
        )


CONTAINERS = [in_the_image(), *of_compose(), *of_kubernetes()]
OURS = [container for container in CONTAINERS if container.image.startswith("soft-staking:")]
SERVERS = [container for container in OURS if container.probes]


def named(containers: list[Container]) -> Any:
    return pytest.mark.parametrize("container", containers, ids=lambda container: container.name)


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def compose_addresses() -> list[tuple[str, int]]:
    """Every host and port that the files of Compose name within its network."""
    environment = SERVICES["worker"]["environment"]
    scraped = YAML[DEPLOY / "prometheus" / "prometheus.yml"][0]["scrape_configs"]
    sources = YAML[DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml"][0]["datasources"]
    targets = [target for job in scraped for static in job["static_configs"] for target in static["targets"]]
    addresses = [
        *targets,
        *(urlsplit(source["url"]).netloc for source in sources),
        *(
            service["environment"]["TEMPORAL_ADDRESS"]
            for service in SERVICES.values()
            if "TEMPORAL_ADDRESS" in str(service)
        ),
        f"{urlsplit(environment['SOFT_STAKING_DATABASE_URL']).hostname}:5432",
        f"{SERVICES['temporal']['environment']['POSTGRES_SEEDS']}:5432",
        f"{SERVICES['temporal-schema']['environment']['SQL_HOST']}:5432",
    ]
    return [(host, int(port)) for host, _, port in (address.rpartition(":") for address in addresses)]


def in_compose(given: Mapping[str, str]) -> dict[str, str]:
    """The variables of a worker, where an operator has given these."""
    use = re.compile(r"\$\{([A-Z_]+)(?::-(.*?)|:\?.*?)\}")
    return {
        name: use.sub(lambda found: given.get(found[1]) or found[2] or "", value)
        for name, value in SERVICES["worker"]["environment"].items()
    }


@pytest.mark.parametrize("file", [file for file in YAML if "alerts" not in file.name], ids=lambda file: file.name)
def test_every_file_says_on_its_first_line_that_it_was_not_run(file: Path) -> None:
    assert "Not run as part of this project's tests" in TEXT[file].splitlines()[0]


def test_every_image_has_a_version_and_ours_has_the_projects() -> None:
    bases = re.findall(r"^FROM (\S+)", CONTAINERFILE, flags=re.M)
    images = {*bases, *(container.image for container in CONTAINERS)}
    assert [image for image in images if not re.fullmatch(r"[a-z/-]+:v?\d+\.\d+(\.\d+)?(-slim)?", image)] == []
    assert {container.image for container in OURS} == {OUR_IMAGE}
    assert len(set(bases)) == 1


@named(OURS)
def test_every_command_line_of_a_container_is_accepted(container: Container) -> None:
    words = [*container.words]
    if container.is_a_worker:
        known, words = typer.main.get_command(worker.app), words[3:]
    else:
        assert words.pop(0) == "soft-staking"
        known = typer.main.get_command(starter.app)
    while isinstance(known, typer.main.TyperGroup):
        known = known.commands[words.pop(0)]
    known.make_context(container.name, words)


def test_the_command_that_containers_run_is_the_one_that_is_installed() -> None:
    assert PROJECT["project"]["scripts"] == {"soft-staking": "commands.starting:soft_staking"}


def test_the_image_is_made_of_everything_that_belongs_to_the_package() -> None:
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", CONTAINERFILE, flags=re.M)
        for word in line.split()
    }
    packaged = {path.strip("/") for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["include"]}
    assert copied == packaged | {"pyproject.toml", "constraints.txt", PROJECT["project"]["readme"]}
    extras = re.search(r"'\.\[(.*)\]'", CONTAINERFILE)
    assert extras
    assert {*extras[1].split(",")} <= PROJECT["project"]["optional-dependencies"].keys()


def test_nothing_runs_as_root() -> None:
    assert re.findall(r"^USER (.*)$", CONTAINERFILE, flags=re.M) == ["10001:10001"]
    assert all(pod["securityContext"]["runAsNonRoot"] for _, _, pod in in_pods())


def test_every_setting_that_is_named_exists_and_every_value_is_one_that_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exist = {f"SOFT_STAKING_{name.upper()}" for name in Settings.model_fields}
    assert {name for text in TEXT.values() for name in re.findall(r"SOFT_STAKING_[A-Z_]+[A-Z]", text)} <= exist
    example = dict(re.findall(r"^([A-Z_]+)=(.*)$", TEXT[DEPLOY / "example.env"], flags=re.M))
    for variables in (in_compose({}), in_compose(example), CONFIG):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert Settings().ledger_url.startswith("postgresql://")


def test_the_example_of_secrets_has_what_compose_asks_for_and_no_more() -> None:
    asked = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", TEXT[DEPLOY / "compose.yaml"]))
    assert set(re.findall(r"^([A-Z_]+)=", TEXT[DEPLOY / "example.env"], flags=re.M)) == asked


def test_compose_and_kubernetes_give_our_containers_the_same_variables() -> None:
    secrets = set(re.findall(r"^([A-Z_]+)=", TEXT[DEPLOY / "kubernetes" / "secret.example.env"], flags=re.M))
    assert not secrets & CONFIG.keys()
    assert secrets | CONFIG.keys() == SERVICES["worker"]["environment"].keys()


def test_every_file_that_is_mounted_or_referred_to_exists() -> None:
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())]
    files = [DEPLOY / volume for volume in mounted if volume.startswith(".")]
    build = COMPOSE["x-soft-staking"]["build"]
    files += [DEPLOY / build["context"] / build["dockerfile"]]
    files += [
        DEPLOY / "prometheus" / name for name in YAML[DEPLOY / "prometheus" / "prometheus.yml"][0]["rule_files"]
    ]
    files += [ROOT / name for text in TEXT.values() for name in re.findall(r"(?:deploy|docs)/[\w./-]+\.\w+", text)]
    assert files
    assert [file for file in files if not file.exists() and file.name != ".env"] == []
    volumes = {volume for volume in mounted if not volume.startswith((".", "/"))}
    assert volumes == COMPOSE["volumes"].keys()


def test_every_object_that_kubernetes_is_referred_to_is_made_by_a_file_or_a_shown_command() -> None:
    made = {(found["kind"], found["metadata"]["name"]) for found in OBJECTS}
    shown = TEXT[DEPLOY / "kubernetes" / "config.yaml"]
    made |= {("Secret", name) for name in re.findall(r"create secret generic (\S+)", shown)}
    made |= {("ConfigMap", name) for name in re.findall(r"create configmap (\S+)", shown)}
    text = json.dumps(OBJECTS)
    named = {("ConfigMap", name) for name in re.findall(r'"configMap(?:Ref)?": {"name": "([^"]+)"', text)}
    named |= {("Secret", name) for name in re.findall(r'"secret(?:Ref|KeyRef)": {[^}]*"name": "([^"]+)"', text)}
    assert len(named) > 1
    assert named <= made


@named(SERVERS)
def test_probes_ask_where_the_process_answers_and_give_it_time(container: Container) -> None:
    listens = container.options["--health"] if container.is_a_worker else container.options["--port"]
    for url, timeout_s in container.probes:
        asked = urlsplit(url)
        assert asked.path in ("/livez", "/readyz")
        assert asked.port == port_of(listens)
        assert asked.path == "/livez" or timeout_s > ANSWERS_WITHIN_S


def test_a_new_start_is_asked_for_only_where_it_helps() -> None:
    probes = [container.get("livenessProbe") for _, container, _ in in_pods()]
    assert {probe["httpGet"]["path"] for probe in probes if probe} == {"/livez"}


@named([container for container in SERVERS if container.stops_within_s])
def test_a_process_has_longer_to_stop_than_it_takes(container: Container) -> None:
    takes_s = STOPPED_WITHIN.total_seconds() if container.is_a_worker else 10
    assert container.stops_within_s
    assert container.stops_within_s > takes_s


def test_what_runs_for_long_has_a_time_to_stop() -> None:
    assert len([container for container in SERVERS if container.stops_within_s]) == len(SERVERS) - 1


def test_every_host_in_compose_is_a_service() -> None:
    assert {host for host, _ in compose_addresses()} <= SERVICES.keys()


def test_prometheus_asks_every_process_for_its_metrics() -> None:
    of = {container.name: container.options for container in OURS}
    parent = Address.parse(of["compose worker"]["--metrics"])
    processes = range(int(of["compose worker"]["--processes"]) + 1)
    expected = {("worker", parent.of_process(number).port) for number in processes}
    expected |= {
        ("web", port_of(of["compose web"]["--metrics"])),
        ("temporal", port_of(SERVICES["temporal"]["environment"]["PROMETHEUS_ENDPOINT"])),
    }
    scraped = {"worker", "web", "temporal"}
    assert {(host, port) for host, port in compose_addresses() if host in scraped and port != 7233} == expected


def test_kubernetes_knows_every_port_that_a_process_listens_on_and_who_may_connect() -> None:
    for container in of_kubernetes():
        listens = {
            port_of(value)
            for name, value in container.options.items()
            if name in ("--port", "--health", "--metrics")
        }
        assert container.ports == listens, container.name
    (policy,) = (found["spec"] for found in OBJECTS if found["kind"] == "NetworkPolicy")
    allowed = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert allowed < {port for container in of_kubernetes() for port in container.ports}


def test_a_version_of_the_workers_has_one_name_everywhere() -> None:
    versions = [c.options for c in CONTAINERS if "--build-id" in c.options]
    assert {options["--build-id"] for options in versions} == {VERSION}
    assert {options.get("--deployment") or options["--deployment-name"] for options in versions} == {
        "soft-staking"
    }
    names = [found["metadata"]["name"] for found in OBJECTS if "--build-id" in json.dumps(found)]
    assert len(names) == 2
    assert all(name.endswith(VERSION.replace(".", "-")) for name in names)


def test_a_disruption_budget_is_of_pods_that_there_are() -> None:
    labels = [
        found["spec"]["template"]["metadata"]["labels"].items()
        for found in OBJECTS
        if found["kind"] == "Deployment"
    ]
    selectors = [
        found["spec"]["selector"] for found in OBJECTS if found["kind"] in ("PodDisruptionBudget", "Service")
    ]
    assert len(selectors) == 3
    assert all(any((s.get("matchLabels") or s).items() <= each for each in labels) for s in selectors)


def test_the_runbook_explains_every_alert_and_no_other_and_the_alert_leads_there() -> None:
    _, *sections = re.split(r"^## ", RUNBOOK.read_text(encoding="utf-8"), flags=re.M)
    explained = {section.splitlines()[0].lower().replace(" ", "-"): section for section in sections}
    led_to = {"-".join(re.findall(r"[A-Z][a-z]*", rule["alert"])).lower(): rule for rule in ALERTS}
    assert explained.keys() == led_to.keys()
    for anchor, rule in led_to.items():
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{anchor}"
        assert "**Means:**" in explained[anchor]
        assert "**Users see:**" in explained[anchor]
