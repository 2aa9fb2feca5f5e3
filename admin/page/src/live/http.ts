// Calls of the API that are answered at once.

import { learn } from "./clock";

/** patience is how long, in ms, an answer may take; an order's, which proxies must prove, takes longer. */
const patience = 20_000;
const orderPatience = 45_000;

/** APIError is an answer that is none of the call's own, or none at all (status 0): whether the call was made is not known then. */
export class APIError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/**
 * request sends one request, teaches the clock and returns the answer's text. path is relative to
 * the page's, which may be anywhere behind a proxy. Its errors are APIErrors.
 */
export async function request(path: string, init: RequestInit = {}): Promise<string> {
  const abort = new AbortController();
  const end = () => abort.abort();
  const late = setTimeout(end, init.method === "POST" ? orderPatience : patience);
  init.signal?.addEventListener("abort", end);
  try {
    init.signal?.throwIfAborted();
    const sent = performance.now();
    const answer = await fetch(path, { cache: "no-store", credentials: "same-origin", ...init, signal: abort.signal });
    learn(answer.headers.get("Date"), sent, performance.now());
    const text = await answer.text();
    if (!answer.ok) throw new APIError(answer.status, problem(answer, text));
    return text;
  } catch (err) {
    if (init.signal?.aborted || err instanceof APIError) throw err;
    throw new APIError(0, "Breakwater does not answer");
  } finally {
    clearTimeout(late);
    init.signal?.removeEventListener("abort", end);
  }
}

function parse<T>(text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new APIError(0, "what answers is not Breakwater");
  }
}

/** get asks for a path's JSON. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return parse<T>(await request(path, signal ? { signal } : {}));
}

/** post sends JSON and returns the answer's. */
export async function post<T>(path: string, body: unknown): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  return parse<T>(await request(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

function problem(answer: Response, text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: string };
    if (message) return message;
  } catch {
    // Not JSON: from something between this browser and Breakwater.
  }
  return `${answer.status} ${answer.statusText}`.trim();
}
