// The smallest client that does the whole loop: identifiers, events in Segment's format, decisions.

const SESSION_MS = 30 * 60 * 1000;

const stored = (key) => {
  try { return localStorage.getItem(key) ?? ""; } catch { return memory.get(key) ?? ""; }
};
const store = (key, value) => {
  try { localStorage.setItem(key, value); } catch { memory.set(key, value); }
};
const memory = new Map();
const fresh = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

export class Opportune {
  // `onEvent` and `onDecision` hear what went out and what came back, with milliseconds.
  constructor(writeKey, { onEvent = () => {}, onDecision = () => {} } = {}) {
    this.writeKey = writeKey;
    this.onEvent = onEvent;
    this.onDecision = onDecision;
    this.sending = Promise.resolve();
    this.headers = { "content-type": "application/json", authorization: `Basic ${btoa(`${writeKey}:`)}` };
  }

  get anonymousId() {
    let id = stored("op_anonymous");
    if (!id) store("op_anonymous", (id = fresh()));
    return id;
  }

  get userId() { return stored("op_user"); }

  get sessionId() {
    const [id, last] = stored("op_session").split("|");
    const now = Date.now();
    const current = id && now - Number(last) < SESSION_MS ? id : fresh();
    store("op_session", `${current}|${now}`);
    return current;
  }

  track(event, properties = {}, decisionId = "") {
    return this.#send({ type: "track", event, properties: decisionId ? { ...properties, decision_id: decisionId } : properties });
  }

  page(name) {
    return this.#send({ type: "page", name, properties: { path: location.pathname, title: document.title } });
  }

  identify(userId, traits = {}) {
    store("op_user", userId);
    return this.#send({ type: "identify", traits });
  }

  // Signing out: a new visitor, so that two people on one browser are never joined.
  reset() {
    store("op_user", "");
    store("op_anonymous", fresh());
    store("op_session", "");
  }

  async decide(requests) {
    await this.sending;
    return Promise.all(requests.map(async (request) => {
      const started = performance.now();
      const response = await fetch("/v1/decide", {
        method: "POST",
        headers: this.headers,
        body: JSON.stringify({
          identifiers: { user_id: this.userId || null, anonymous_id: this.anonymousId },
          session_id: this.sessionId,
          ...request,
        }),
      });
      if (!response.ok) throw new Error(`decide answered ${response.status}`);
      const { decisions } = await response.json();
      for (const decision of decisions) this.onDecision(decision, performance.now() - started);
      return decisions[0];
    }));
  }

  #send(call) {
    const message = {
      ...call,
      messageId: fresh(),
      timestamp: new Date().toISOString(),
      anonymousId: this.anonymousId,
      ...(this.userId ? { userId: this.userId } : {}),
      context: { library: { name: "opportune-shop", version: "1" }, sessionId: this.sessionId, page: { path: location.pathname } },
    };
    const body = JSON.stringify({ batch: [message], sentAt: new Date().toISOString(), writeKey: this.writeKey });
    const started = performance.now();
    const sent = fetch("/v1/batch", { method: "POST", headers: this.headers, body, keepalive: true }).then(
      (response) => this.onEvent(call, response.ok, performance.now() - started),
      () => this.onEvent(call, false, performance.now() - started),
    );
    // The next decision waits for what was sent before it: it will have seen it.
    this.sending = Promise.all([this.sending, sent]);
    return sent;
  }
}
