// What a shop's page does with the browser client; runs inside the page, in jsdom and in Chromium alike.
const integration = { apiHost: `${given.host}/v1`, protocol: "http" };
if (given.batching) integration.deliveryStrategy = { strategy: "batching", config: { size: 3, timeout: 300 } };
return AnalyticsBrowser.load({ writeKey: given.writeKey, cdnURL: given.url }, { integrations: { "Segment.io": integration } })
  .then(async ([analytics]) => {
    const anonymousId = analytics.user().anonymousId();
    await analytics.track("Product Viewed", { product_id: "p1", price: 9.5 });
    await analytics.page("Shop", "Home");
    await analytics.identify(given.person, { email: `${given.person}@shop.example`, plan: "pro" });
    await analytics.screen("App", "Start");
    await analytics.group("firm-1", { name: "Firm" });
    await analytics.track("Order Completed", { total: 19, products: [{ product_id: "p1" }] });
    await analytics.alias(given.person, `old-${given.person}`);
    return { anonymousId };
  });
