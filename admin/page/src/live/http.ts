// Calls of the API that are answered at once.

import { learn } from "./clock";

/** APIError is an answer that is none of the call's own, or none at all (status 0). */
export class APIError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** request sends one request and teaches the clock. Its errors are APIErrors. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const sent = performance.now();
  let answer: Response;
  try {
    answer = await fetch(path, { cache: "no-store", credentials: "same-origin", ...init });
  } catch (err) {
    if (init.signal?.aborted) throw err;
    throw new APIError(0, "Breakwater does not answer");
  }
  learn(answer.headers.get("Date"), sent, performance.now());
  if (!answer.ok) throw new APIError(answer.status, await problem(answer));
  return answer;
}

/** get asks for a path's JSON. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await request(path, { signal })).json() as Promise<T>;
}

/** post sends JSON and returns the answer's. */
export async function post<T>(path: string, body: unknown): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  return (await request(path, { method: "POST", headers, body: JSON.stringify(body) })).json() as Promise<T>;
}

async function problem(answer: Response): Promise<string> {
  const text = await answer.text().catch(() => "");
  try {
    const { message } = JSON.parse(text) as { message?: string };
    if (message) return message;
  } catch {
    // Not JSON: from something between this browser and Breakwater.
  }
  return `${answer.status} ${answer.statusText}`.trim();
}
