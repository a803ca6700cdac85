// A program of a product service: every operation of the service, with the client that openapi-fetch makes of the
// types. It is compiled strictly, so a call that the types do not allow fails before it is sent.
import { createHmac } from "node:crypto";
import createClient, { type Middleware } from "openapi-fetch";
import type { operations, paths } from "./schema.js";

const { ADDRESS, TOKEN, API_KEY, SECRET, USER_ID, TODAY } = process.env as Record<string, string>;
const called = new Set<keyof operations>();

function answered<Answer>(operation: keyof operations, result: { data?: Answer; error?: unknown }): Answer {
  if (result.data === undefined) {
    throw new Error(`${String(operation)}: ${JSON.stringify(result.error)}`);
  }
  called.add(operation);
  return result.data;
}

function expect(what: string, found: unknown, wanted: unknown): void {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) {
    throw new Error(`${what}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
  }
}

const client = createClient<paths>({ baseUrl: ADDRESS, headers: { Authorization: `Bearer ${TOKEN}` } });
const signing: Middleware = {
  onRequest({ request }) {
    const [path, query = ""] = request.url.split("?");
    const signed = query.replace(/&?signature=[^&]*$/, "");
    const signature = createHmac("sha256", SECRET).update(signed).digest("hex");
    return new Request(`${path}?${signed}&signature=${signature}`, { headers: request.headers });
  },
};
const signed = createClient<paths>({ baseUrl: ADDRESS, headers: { "X-MBX-APIKEY": API_KEY } });
signed.use(signing);

const user = { path: { user: USER_ID } };
const at = new Date(Date.now() - 60_000).toISOString();
const body = { movements: [{ id: `${USER_ID}-1`, user: USER_ID, asset: "SOL", amount: "1", at }] };
const posted = answered("postMovements", await client.POST("/v1/movements", { body }));
expect("the movement", posted.results[0].status, "posted");
const told = answered(
  "putSource",
  await client.PUT("/v1/sources/{name}", { params: { path: { name: "wallet" } }, body: { complete_through: at } }),
);
expect("the source", told.name, "wallet");
answered("getSources", await client.GET("/v1/sources"));

const program = answered("getProgram", await client.GET("/v1/program"));
const query = { region: "FR", channel: "web" } as const;
const eligibility = answered(
  "getAccountEligibility",
  await client.GET("/v1/accounts/{user}/soft-staking/eligibility", { params: { ...user, query } }),
);
expect("the reasons", eligibility.reasons, []);
const documents = Object.fromEntries(program.in_force.documents.map(({ name, version }) => [name, version]));
answered("getAccountEstimate", await client.GET("/v1/accounts/{user}/soft-staking/estimate", { params: user }));
const receipt = answered(
  "activateAccount",
  await client.POST("/v1/accounts/{user}/soft-staking/activate", { params: user, body: { ...query, documents } }),
);
const status = answered(
  "getAccountStatus",
  await client.GET("/v1/accounts/{user}/soft-staking/status", { params: user }),
);
expect("the enrolment", [status.enrolled, status.enrolment_id], [true, receipt.enrolment_id]);
const tag = answered("getAccountTag", await client.GET("/v1/accounts/{user}/soft-staking/tag", { params: user }));
expect("the tag", tag.tag?.colour, "yellow");
answered("getAccountRewards", await client.GET("/v1/accounts/{user}/soft-staking/rewards", { params: user }));
answered("getCredits", await client.GET("/v1/credits", { params: { query: { day: TODAY } } }));
answered(
  "getReconciliation",
  await client.GET("/v1/reconciliation/{day}", { params: { path: { day: TODAY } } }),
);
const events = answered("getEvents", await client.GET("/v1/events", { params: { query: { limit: 1000 } } }));
expect("an event", events.events.some((event) => event.type === "enrolment.began"), true);
answered("deactivateAccount", await client.POST("/v1/accounts/{user}/soft-staking/deactivate", { params: user }));

const now = () => ({ timestamp: Date.now(), signature: "" });
answered(
  "setSoftStaking",
  await signed.GET("/sapi/v1/soft-staking/set", { params: { query: { softStaking: "true", ...now() } } }),
);
answered(
  "getSoftStakingProductList",
  await signed.GET("/sapi/v1/soft-staking/list", { params: { query: { asset: "SOL", ...now() } } }),
);
answered(
  "getSoftStakingRewardsHistory",
  await signed.GET("/sapi/v1/soft-staking/history/rewardsRecord", { params: { query: now() } }),
);
answered("getSystemStatus", await client.GET("/sapi/v1/system/status"));
answered("getServerTime", await client.GET("/api/v3/time"));
answered("ping", await client.GET("/api/v3/ping"));

const refused = await client.POST("/v1/accounts/{user}/soft-staking/deactivate", {
  params: { path: { user: `${USER_ID}-unknown` } },
});
expect("the refusal", [refused.response.status, refused.error?.type], [409, "/problems/not-enrolled"]);
console.log(JSON.stringify([...called].sort()));
