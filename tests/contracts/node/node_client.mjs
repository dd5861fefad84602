// Drives the unmodified @segment/analytics-node: `node node_client.mjs '{"host": ..., "writeKey": ..., "person": ...}'`.
import { Analytics } from "@segment/analytics-node";

const { host, writeKey, person, many } = JSON.parse(process.argv[2]);
const client = new Analytics({ host, writeKey, flushAt: 15, flushInterval: 200, maxRetries: 3 });
const errors = [];
client.on("error", (error) => errors.push(`${error.code}: ${error.reason?.message ?? error.reason}`));

if (many) {
  for (let n = 0; n < many; n += 1) {
    client.track({ userId: person, event: "Product Viewed", properties: { product_id: `p${n % 7}` } });
  }
} else {
  const anonymousId = `anon-${person}`;
  client.track({ anonymousId, event: "Product Viewed", properties: { product_id: "p1", price: 9.5, gone: null } });
  client.page({ anonymousId, name: "Home", category: "Shop", properties: { path: "/" } });
  client.identify({ userId: person, anonymousId, traits: { email: `${person}@shop.example`, plan: "pro" } });
  client.screen({ userId: person, name: "Start" });
  client.group({ userId: person, groupId: "firm-1", traits: { name: "Firm" } });
  client.track({ userId: person, event: "Order Completed", properties: { total: 19, products: [{ product_id: "p1" }] } });
  client.alias({ userId: person, previousId: `old-${person}` });
}
await client.closeAndFlush({ timeout: 20000 });
console.log(JSON.stringify({ errors }));
