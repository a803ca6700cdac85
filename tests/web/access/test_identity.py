"""Who may see what. Each test tries to see or to do something that belongs to somebody else."""

from datetime import timedelta

import httpx
import pytest
from visitor import EXCHANGE, GATEWAY, Clock, Page, a_site, a_visitor
from world import World, at

from web.access.sessions import SESSION_LIFETIME

NOW = at("2026-10-05 10:00")
PAGES = (
    "/",
    "/soft-staking",
    "/soft-staking/activate",
    "/soft-staking/started",
    "/soft-staking/stop",
    "/soft-staking/rewards.csv",
    "/soft-staking/reward-entries.csv",
    "/documents/terms_of_use",
    "/time-zone",
)
FORMS = ("/soft-staking/activate", "/soft-staking/stop", "/time-zone", "/people", "/people/leave")
LOOPBACK = {"peer": "127.0.0.1", "base": "http://127.0.0.1:8080"}


@pytest.fixture
async def accounts(world: World) -> World:
    """Ann, who holds 12 SOL, and bob, who holds 7 BNB."""
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    await world.move("bob", "7", "BNB", at("2026-10-01"))
    return world


def is_anns(page: Page) -> bool:
    return page.status == 200 and "SOL" in page.text and "BNB" not in page.text


# Behind the gateway.


async def test_the_gateway_says_who_asks(accounts: World) -> None:
    site = await a_site(accounts, NOW)
    async with a_visitor(site, "ann") as ann, a_visitor(site, "bob") as bob:
        assert is_anns(await ann.get("/"))
        assert not is_anns(await bob.get("/"))


async def test_without_anybody_who_says_who_asks_it_is_401_with_a_sentence(accounts: World) -> None:
    async with a_visitor(await a_site(accounts, NOW)) as nobody:
        for path in PAGES:
            page = await nobody.get(path)
            assert (page.status, page.title) == (401, "We do not know who you are"), path
            assert "open Soft Staking from your account at the exchange" in page.text
    assert not nobody.cookies


async def test_without_anybody_who_says_who_asks_nothing_can_be_sent(accounts: World) -> None:
    async with a_visitor(await a_site(accounts, NOW)) as nobody:
        assert [(await nobody.post(path, {"token": "x"})).status for path in FORMS] == [401] * len(FORMS)


@pytest.mark.parametrize(
    ("peer", "peers", "is_believed"),
    [
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.4", "10.1.2.3", False),
        ("10.1.9.9", "192.168.0.1, 10.1.0.0/16", True),
        ("10.2.0.1", "192.168.0.1, 10.1.0.0/16", False),
        ("127.0.0.1", "10.1.2.3", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("::ffff:10.1.2.3", "10.1.2.3", True),
        ("fd00::1", "fd00::/8", True),
        ("testclient", "10.1.2.3", False),
        ("", "10.1.2.3", False),
    ],
)
async def test_the_header_is_believed_from_configured_peers_alone(
    accounts: World, peer: str, peers: str, is_believed: bool
) -> None:
    async with a_visitor(await a_site(accounts, NOW, gateway_peers=peers), "ann", peer=peer) as ann:
        page = await ann.get("/")
    assert (page.status, is_anns(page) if is_believed else None) == (
        200 if is_believed else 401,
        is_believed or None,
    )


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP"])
async def test_no_header_makes_a_stranger_the_gateway(accounts: World, header: str) -> None:
    value = f"for={GATEWAY}" if header == "Forwarded" else GATEWAY
    async with a_visitor(await a_site(accounts, NOW), "ann", peer="203.0.113.9") as stranger:
        assert (await stranger.get("/", **{header: value})).status == 401


async def test_the_headers_names_are_configurable(accounts: World) -> None:
    site = await a_site(accounts, NOW, gateway_user_header="Exchange-Account")
    async with a_visitor(site, "ann") as ann, a_visitor(site) as named:
        assert (await ann.get("/")).status == 401
        assert is_anns(await named.get("/", **{"Exchange-Account": "ann"}))


async def test_a_name_that_came_twice_is_nobodys(accounts: World) -> None:
    """A client that adds a header of its own before the gateway adds the true one."""
    site = await a_site(accounts, NOW)
    transport = httpx.ASGITransport(app=site, client=(GATEWAY, 1))
    async with httpx.AsyncClient(transport=transport, base_url=EXCHANGE) as client:
        for pair in (["ann", "bob"], ["bob", "ann"]):
            answer = await client.get("/", headers=[("X-User-Id", name) for name in pair])
            assert answer.status_code == 401
        assert (await client.get("/", headers={"X-User-Id": "ann, bob"})).status_code == 401


async def test_a_malformed_name_is_nobodys(accounts: World) -> None:
    async with a_visitor(await a_site(accounts, NOW)) as visitor:
        for user in ("", " ", "../ann", "ann/bob", "a" * 65, "ann'--", "%61nn", "ann\tbob"):
            assert (await visitor.get("/", **{"X-User-Id": user})).status == 401


async def test_a_session_does_not_outlive_the_persons_change(accounts: World) -> None:
    """Bob uses the browser that ann used before. He sees his own account, and cannot send a form of hers."""
    site = await a_site(accounts, NOW)
    async with a_visitor(site, "ann") as browser:
        anns_form = (await browser.get("/time-zone")).form("/time-zone")
        anns_cookies = browser.cookies
        browser.client.headers["X-User-Id"] = "bob"
        assert (await browser.post("/time-zone", anns_form)).status == 403
        assert not is_anns(await browser.get("/"))
        assert browser.cookies != anns_cookies


async def test_another_persons_session_makes_nobody_them(accounts: World) -> None:
    site = await a_site(accounts, NOW)
    async with a_visitor(site, "ann") as ann, a_visitor(site, "bob") as bob:
        stolen = (await ann.get("/")).response.headers["set-cookie"].partition(";")[0]
        page = await bob.get("/", Cookie=stolen)
        assert "BNB" in page.text
        assert "SOL" not in page.text
    async with a_visitor(site) as thief:
        assert (await thief.get("/", Cookie=stolen)).status == 401


@pytest.mark.parametrize("name", ["user", "user_id", "account", "X-User-Id", "id"])
async def test_no_parameter_shows_another_account(accounts: World, name: str) -> None:
    async with a_visitor(await a_site(accounts, NOW), "ann") as ann:
        assert is_anns(await ann.get(f"/?{name}=bob"))
        csv = await ann.get(f"/soft-staking/rewards.csv?{name}=bob")
        assert "bob" not in csv.html


async def test_no_address_distinguishes_a_user_who_does_not_exist_from_another_user(accounts: World) -> None:
    async with a_visitor(await a_site(accounts, NOW), "ann") as ann:
        for path in ("/{}", "/people/{}", "/accounts/{}", "/soft-staking/{}", "/documents/{}"):
            of_bob, of_nobody = [await ann.get(path.format(user)) for user in ("bob", "zoe")]
            assert of_bob.status == of_nobody.status == 404
            assert of_bob.html == of_nobody.html


async def test_a_person_the_ledger_does_not_know_has_an_empty_account(accounts: World) -> None:
    async with a_visitor(await a_site(accounts, NOW), "zoe") as zoe:
        page = await zoe.get("/")
    assert page.status == 200
    assert "There is nothing in your spot account yet." in page.text


async def test_the_choice_of_a_person_does_not_exist_behind_a_gateway(accounts: World) -> None:
    async with a_visitor(await a_site(accounts, NOW), "ann") as ann:
        token = (await ann.get("/time-zone")).form("/time-zone")
        assert (await ann.get("/people")).status == 404
        assert (await ann.post("/people", token | {"user": "bob"})).status == 404
        assert (await ann.post("/people/leave", token)).status == 404
        assert is_anns(await ann.get("/"))


# The demonstration's choice of a person.


async def test_in_the_demonstration_a_visitor_chooses_whose_account_to_see(accounts: World) -> None:
    site = await a_site(accounts, NOW, is_development=True)
    async with a_visitor(site, **LOOPBACK) as visitor:
        assert (await visitor.get("/")).leads_to == "/people"
        before = (await visitor.get("/people")).form("/people")
        chosen = await visitor.press("/people", "/people", user="ann", region="FR")
        assert chosen.leads_to == "/"
        assert is_anns(await visitor.get("/"))
        # A token from before the choice is worth nothing after it.
        assert (await visitor.post("/people/leave", {"token": before["token"]})).status == 403
        assert (await visitor.press("/", "/people/leave")).leads_to == "/people"
        assert (await visitor.get("/")).leads_to == "/people"


@pytest.mark.parametrize(
    ("is_development", "peer", "base"),
    [
        (False, "127.0.0.1", "http://127.0.0.1:8080"),
        (True, "192.168.0.9", "http://127.0.0.1:8080"),
        (True, "10.1.2.3", "http://127.0.0.1:8080"),
        (True, "127.0.0.1", "http://rebound.example:8080"),
        (True, "127.0.0.1", "http://127.0.0.1.example:8080"),
        (True, "::1", "http://localhost.example"),
    ],
)
async def test_the_choice_exists_only_with_dev_and_on_loopback(
    accounts: World, is_development: bool, peer: str, base: str
) -> None:
    site = await a_site(accounts, NOW, is_development=is_development)
    async with a_visitor(site, **LOOPBACK) as owner:
        if is_development:
            await owner.press("/people", "/people", user="ann", region="FR")
        cookie = "; ".join(f"{name}={value}" for name, value in owner.cookies.items())
    async with a_visitor(site, peer=peer, base=base) as stranger:
        for path in ("/people", "/"):
            assert (await stranger.get(path)).status == 401
            assert (await stranger.get(path, Cookie=cookie)).status == 401
        assert (await stranger.post("/people", {"user": "ann"}, Cookie=cookie)).status == 401


@pytest.mark.parametrize("base", ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:8080"])
async def test_every_name_of_this_machine_is_loopback(accounts: World, base: str) -> None:
    site = await a_site(accounts, NOW, is_development=True)
    async with a_visitor(site, peer="::1", base=base) as visitor:
        assert (await visitor.get("/people")).status == 200


async def test_a_wrong_user_id_is_named(accounts: World) -> None:
    site = await a_site(accounts, NOW, is_development=True)
    async with a_visitor(site, **LOOPBACK) as visitor:
        page = await visitor.press("/people", "/people", user="../ann", region="FR")
    assert page.status == 422
    assert "'../ann' is not a user id" in page.text
    assert "Thirty days of rewards" in page.text


async def test_a_choice_expires(accounts: World) -> None:
    clock = Clock(NOW)
    site = await a_site(accounts, clock, is_development=True)
    async with a_visitor(site, **LOOPBACK) as visitor:
        await visitor.press("/people", "/people", user="ann", region="FR")
        clock.goes_on(SESSION_LIFETIME)
        kept = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        assert (await visitor.get("/", Cookie=kept)).leads_to == "/people"


# Forms.


@pytest.mark.parametrize("path", ["/soft-staking/activate", "/soft-staking/stop", "/time-zone"])
async def test_a_form_without_its_token_is_refused_and_changes_nothing(accounts: World, path: str) -> None:
    site = await a_site(accounts, NOW)
    before = await accounts.everything()
    async with a_visitor(site, "ann") as ann, a_visitor(site, "bob") as bob:
        await ann.get("/time-zone")
        bobs = (await bob.get("/time-zone")).form("/time-zone")["token"]
        for fields in ({}, {"token": ""}, {"token": "0" * 64}, {"token": bobs}):
            page = await ann.post(path, fields)
            assert (page.status, page.title) == (403, "This page was open for too long")
            assert "Nothing was changed." in page.text
    assert await accounts.everything() == before


async def test_a_form_of_a_site_that_has_no_cookie_of_ours_is_refused(accounts: World) -> None:
    """A request that another site makes a browser send: the gateway names the person, and SameSite keeps the
    session back."""
    site = await a_site(accounts, NOW)
    async with a_visitor(site, "ann") as ann:
        token = (await ann.get("/time-zone")).form("/time-zone")
        ann.client.cookies.clear()
        assert (await ann.post("/soft-staking/stop", token)).status == 403


async def test_a_form_of_an_expired_session_is_refused(accounts: World) -> None:
    clock = Clock(NOW)
    async with a_visitor(await a_site(accounts, clock), "ann") as ann:
        form = (await ann.get("/time-zone")).form("/time-zone")
        cookie = "; ".join(f"{name}={value}" for name, value in ann.cookies.items())
        clock.goes_on(SESSION_LIFETIME - timedelta(seconds=1))
        assert (await ann.post("/time-zone", form, Cookie=cookie)).status == 303
        clock.goes_on(timedelta(seconds=1))
        assert (await ann.post("/time-zone", form, Cookie=cookie)).status == 403


async def test_every_form_that_changes_something_carries_the_token(accounts: World) -> None:
    await accounts.enrol("bob", at("2026-10-02 10:00"))
    site = await a_site(accounts, NOW)
    async with a_visitor(site, "ann") as ann, a_visitor(site, "bob") as bob:
        pages = [
            await ann.get("/soft-staking/activate"),
            await ann.get("/time-zone"),
            await bob.get("/soft-staking/stop"),
        ]
    for page in pages:
        assert page.html.count('<form method="post"') == page.html.count('name="token"') == 1


@pytest.mark.parametrize("length", ["", "16385", "-1", "x"])
async def test_a_form_beyond_all_measure_is_refused_unread(accounts: World, length: str) -> None:
    async with a_visitor(await a_site(accounts, NOW), "ann") as ann:
        await ann.get("/time-zone")
        page = await ann.post("/time-zone", {"zone": "UTC"}, **{"Content-Length": length})
    assert page.status == 413


async def test_a_form_that_cannot_be_read_is_an_answer(accounts: World) -> None:
    async with a_visitor(await a_site(accounts, NOW), "ann") as ann:
        token = (await ann.get("/time-zone")).form("/time-zone")["token"]
        many = {f"field{number}": "x" for number in range(100)} | {"token": token}
        assert (await ann.post("/time-zone", many)).status in (303, 400, 403)
        garbage = await ann.client.post(
            "/time-zone", content=b"\xff\x00", headers={"Content-Type": "multipart/form-data"}
        )
        assert garbage.status_code in (400, 403)


# Cookies and headers.


async def test_a_session_cookie_is_kept_from_scripts_other_sites_and_plain_connections(accounts: World) -> None:
    async with a_visitor(await a_site(accounts, NOW), "ann") as ann:
        cookie = (await ann.get("/")).response.headers["set-cookie"]
    name, *attributes = cookie.split("; ")
    assert name.startswith("__Host-soft-staking-session=")
    assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/"} <= set(attributes)
    assert not any(attribute.startswith("Domain") for attribute in attributes)
    assert not any(attribute.lower().startswith(("expires", "max-age")) for attribute in attributes)


async def test_a_session_is_kept_and_not_made_anew_with_every_page(accounts: World) -> None:
    async with a_visitor(await a_site(accounts, NOW), "ann") as ann:
        assert "set-cookie" in (await ann.get("/")).response.headers
        assert "set-cookie" not in (await ann.get("/")).response.headers


@pytest.mark.parametrize("path", ["/", "/nowhere", "/static/pages.css", "/soft-staking/activate"])
async def test_every_answer_is_strict(accounts: World, path: str) -> None:
    async with a_visitor(await a_site(accounts, NOW), "ann") as ann:
        headers = (await ann.get(path)).response.headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if path.startswith("/static") else "no-store")


@pytest.mark.parametrize(
    "path", ["/static/../pages.py", "/static/%2e%2e/sessions.py", "/static/..%2fpages.py", "/static/"]
)
async def test_nothing_but_our_style_script_and_icon_is_served(accounts: World, path: str) -> None:
    async with a_visitor(await a_site(accounts, NOW), "ann") as ann:
        assert (await ann.get(path)).status == 404


async def test_what_a_person_is_called_is_shown_as_text(accounts: World) -> None:
    async with a_visitor(await a_site(accounts, NOW), "ann") as ann:
        page = await ann.get("/soft-staking/activate?asset=<script>alert(1)</script>")
        await accounts.enrol("ann", at("2026-10-02 10:00"))
        history = await ann.get("/soft-staking?from=<script>alert(1)</script>&asset=<b>&outcome=\"'>")
    assert "<script>alert" not in page.html + history.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; is not a day" in history.html
