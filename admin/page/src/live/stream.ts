// Server-sent events over fetch. The browser's EventSource hides keep-alives and headers, and
// gives up for good on an answer such as 503; this one sees a dead connection and goes on.

import { learn } from "./clock";

/** opening is how long, in ms, the answer may take to begin. */
const opening = 15_000;
/** silence is how long, in ms, a stream may bring nothing: keep-alives come every 3 s. */
const silence = 8_000;
/** linger is how long, in ms, a page that is hidden keeps its stream. */
const linger = 10_000;
const firstRetry = 250;
const lastRetry = 5_000;

export interface Handlers {
  /** A message: its event's name ("message" by default) and data. */
  message(event: string, data: string): void;
  /** The stream broke or could not be opened; the next try is in retryIn ms. */
  down(why: string, retryIn: number): void;
  /** The page is hidden: the stream is closed until it is shown again. */
  paused?(): void;
}

/**
 * openStream follows path, relative to the page's, until the function that it returns is called. A
 * page that is hidden lets go of its stream: a browser has six connections to a server for all its
 * tabs together, and without one of them free no tab gets an answer.
 */
export function openStream(path: () => string, handlers: Handlers): () => void {
  let closed = false;
  let hidden = document.hidden;
  let leaving = 0;
  let retry = firstRetry;
  let abort = new AbortController();
  let wake: () => void = () => {};

  const once = async (): Promise<string> => {
    abort = new AbortController();
    let watchdog = 0;
    const alive = (wait: number) => {
      clearTimeout(watchdog);
      watchdog = window.setTimeout(() => abort.abort(), wait);
    };
    try {
      alive(opening);
      const sent = performance.now();
      const answer = await fetch(path(), {
        headers: { Accept: "text/event-stream" },
        cache: "no-store",
        signal: abort.signal,
      });
      learn(answer.headers.get("Date"), sent, performance.now());
      if (!answer.ok || answer.body === null) return `Breakwater answers ${answer.status}`;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      alive(silence);
      const parser = new Parser((event, data) => {
        handlers.message(event, data);
        retry = firstRetry;
      });
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return "Breakwater closed the connection";
        alive(silence);
        if (!closed) parser.push(value);
      }
    } catch {
      return "no connection to Breakwater";
    } finally {
      clearTimeout(watchdog);
      abort.abort();
    }
  };

  const run = async () => {
    while (!closed) {
      if (hidden) {
        handlers.paused?.();
        await new Promise<void>((resolve) => (wake = resolve));
        continue;
      }
      const why = await once();
      if (closed) return;
      if (hidden) continue;
      const wait = retry * (0.8 + 0.4 * Math.random());
      retry = Math.min(retry * 2, lastRetry);
      handlers.down(why, wait);
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, wait);
      });
    }
  };
  const online = () => wake();
  window.addEventListener("online", online);
  const offline = () => abort.abort();
  window.addEventListener("offline", offline);
  const look = () => {
    clearTimeout(leaving);
    if (document.hidden) {
      leaving = window.setTimeout(() => {
        hidden = true;
        abort.abort();
      }, linger);
    } else if (hidden) {
      hidden = false;
      wake();
    }
  };
  document.addEventListener("visibilitychange", look);
  void run();
  return () => {
    closed = true;
    clearTimeout(leaving);
    document.removeEventListener("visibilitychange", look);
    window.removeEventListener("online", online);
    window.removeEventListener("offline", offline);
    abort.abort();
    wake();
  };
}

/** Parser cuts a text/event-stream into messages. */
export class Parser {
  private rest = "";
  private event = "";
  private data: string[] = [];

  constructor(private readonly emit: (event: string, data: string) => void) {}

  push(chunk: string): void {
    const lines = (this.rest + chunk).split("\n");
    this.rest = lines.pop() ?? "";
    for (const line of lines) this.line(line.endsWith("\r") ? line.slice(0, -1) : line);
  }

  private line(line: string): void {
    if (line === "") {
      if (this.data.length > 0) this.emit(this.event || "message", this.data.join("\n"));
      this.event = "";
      this.data = [];
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.data.push(value);
    if (field === "event") this.event = value;
  }
}
