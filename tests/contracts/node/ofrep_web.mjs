// Drives the unmodified OpenFeature web SDK with its OFREP provider; the browser's fetch is Node's.
import { OpenFeature } from "@openfeature/web-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

const { url, writeKey, person } = JSON.parse(process.argv[2]);
const statuses = [];
const watched = async (...args) => {
  const response = await fetch(...args);
  statuses.push(response.status);
  return response;
};
const provider = new OFREPWebProvider({
  baseUrl: url,
  pollInterval: 200,
  fetchImplementation: watched,
  headers: [["X-API-Key", writeKey]],
});
await OpenFeature.setProviderAndWait(provider, { targetingKey: person, placements: ["home_recs"] });
const client = OpenFeature.getClient();
const told = {
  banner: client.getBooleanDetails("banner", false),
  headline: client.getStringDetails("headline", "default"),
  discount: client.getNumberDetails("discount", 7),
  layout: client.getObjectDetails("layout", {}),
  germans: client.getBooleanDetails("germans", true),
  over: client.getStringDetails("over", "mine"),
  missing: client.getStringDetails("missing", "mine"),
  home: client.getObjectDetails("home_recs", {}),
};
await new Promise((done) => setTimeout(done, 700));
await OpenFeature.setContext({ targetingKey: person, country: "DE" });
told.inGermany = client.getBooleanDetails("germans", true);
await OpenFeature.close();
console.log(JSON.stringify({ told, statuses }));
process.exit(0);
