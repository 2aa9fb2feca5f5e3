// Server-sent events over fetch. The browser's EventSource hides keep-alives and headers, and
// gives up for good on an answer such as 503; this one sees a dead connection and goes on.

import { learn } from "./clock";

/** silence is how long, in ms, a stream may bring nothing: keep-alives come every 15 s. */
const silence = 35_000;
const firstRetry = 250;
const lastRetry = 5_000;

export interface Handlers {
  /** A message: its event's name ("message" by default) and data. */
  message(event: string, data: string): void;
  /** The stream broke or could not be opened; the next try is in retryIn ms. */
  down(why: string, retryIn: number): void;
}

/** openStream follows path until the function that it returns is called. */
export function openStream(path: () => string, handlers: Handlers): () => void {
  let closed = false;
  let retry = firstRetry;
  let abort = new AbortController();
  let wake: () => void = () => {};

  const once = async (): Promise<string> => {
    abort = new AbortController();
    let watchdog = 0;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = window.setTimeout(() => abort.abort(), silence);
    };
    try {
      alive();
      const sent = performance.now();
      const answer = await fetch(path(), {
        headers: { Accept: "text/event-stream" },
        cache: "no-store",
        signal: abort.signal,
      });
      learn(answer.headers.get("Date"), sent, performance.now());
      if (!answer.ok || answer.body === null) return `Breakwater answers ${answer.status}`;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new Parser((event, data) => {
        retry = firstRetry;
        handlers.message(event, data);
      });
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return "Breakwater closed the connection";
        alive();
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
      const why = await once();
      if (closed) return;
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
  void run();
  return () => {
    closed = true;
    window.removeEventListener("online", online);
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
