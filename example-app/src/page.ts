import { LATEST_PROTOCOL_VERSION } from '@modelcontextprotocol/sdk/types.js';

export interface PageFacts {
  readonly scheme: string;
  /** The request's Host header, which the client controls. */
  readonly host: string | undefined;
  readonly stateless: boolean;
  /** Whether clients of MCP 2026-07-28 are served. */
  readonly perRequest: boolean;
  readonly sessions: { readonly active: number; readonly orphaned: number };
}

const ESCAPES = new Map([
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['"', '&quot;'],
  ["'", '&#39;'],
]);

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES.get(character) ?? character);
}

/** Users paste this URL into a shell. So a Host header with any unusual character is replaced. */
function origin({ scheme, host }: PageFacts): string {
  return `${scheme}://${host !== undefined && /^[\w.-]+(:\d+)?$|^\[[\da-f:.]+\](:\d+)?$/i.test(host) ? host : 'localhost:3000'}`;
}

const STYLE = `
  :root { color-scheme: light dark; --ink: #1c1f26; --soft: #5b6472; --paper: #fbfaf8; --card: #fff; --line: #e4e1db; --mark: #0b7a6b; }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #e9e7e2; --soft: #a2a9b4; --paper: #15171b; --card: #1d2025; --line: #30343b; --mark: #4fd1bd; }
  }
  * { box-sizing: border-box; }
  body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.6 system-ui, sans-serif; }
  main { max-width: 46rem; margin: 0 auto; padding: 3.5rem 1.25rem; }
  h1 { margin: 0; font-size: 1.9rem; letter-spacing: -0.02em; line-height: 1.2; }
  h2 { margin: 2.2rem 0 0.5rem; font-size: 1.05rem; }
  p { margin: 0.5rem 0; }
  .soft, figcaption { color: var(--soft); }
  .live { display: inline-block; margin-top: 1rem; padding: 0.2rem 0.75rem; border: 1px solid var(--line);
    border-radius: 99px; background: var(--card); font-size: 0.9rem; }
  .live b { color: var(--mark); }
  code, pre { font: 0.86rem/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
  pre { margin: 0.25rem 0 0; padding: 0.8rem 1rem; overflow-x: auto; background: var(--card);
    border: 1px solid var(--line); border-radius: 0.6rem; }
  figure { margin: 0.9rem 0; }
  figcaption { font-size: 0.9rem; }
  table { width: 100%; border-collapse: collapse; }
  td { padding: 0.4rem 0; border-top: 1px solid var(--line); vertical-align: top; }
  td:first-child { width: 11rem; padding-right: 1rem; }
  a { color: var(--mark); }
`;

const STATELESS_TOOLS = [
  ['echo', 'says back what it is told'],
  ['countdown', 'counts down, with progress every second; can be cancelled'],
  ['whoami', 'tells the session and who is asking'],
] as const;

const OTHER_TOOLS = [
  ['add_note, edit_note, list_notes', 'notes of the session; of the user, for clients without a session'],
  ['notes://{id}', 'each note as a resource that can be subscribed to'],
  ['summarize_notes', 'a prompt over the notes'],
  ['ask_name', 'asks the user for their name (elicitation)'],
  ['announce', 'sends a log message on the GET stream; on its reply, to clients without a session'],
] as const;

function rows(entries: readonly (readonly [string, string])[]): string {
  return entries.map(([name, what]) => `<tr><td><code>${name}</code></td><td>${what}</td></tr>`).join('\n');
}

function example(caption: string, text: string): string {
  return `<figure><figcaption>${caption}</figcaption><pre>${escapeHtml(text)}</pre></figure>`;
}

/** Renders the page at `/`: an overview, and how to connect a client. It has no script and loads nothing. */
export function renderPage(facts: PageFacts): string {
  const url = `${origin(facts)}/mcp`;
  const initialize = {
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: {
      protocolVersion: LATEST_PROTOCOL_VERSION,
      capabilities: {},
      clientInfo: { name: 'curl', version: '1' },
    },
  };
  const { active, orphaned } = facts.sessions;
  const live = facts.stateless
    ? 'stateless: no sessions'
    : `<b>${active}</b> live session${active === 1 ? '' : 's'}, <b>${orphaned}</b> orphaned`;

  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>express-mcp-router example</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>express-mcp-router example</h1>
<p class="soft">A small MCP server over Streamable HTTP, in which every client has its own session.${
    facts.perRequest ? ' Clients of MCP 2026-07-28 need none.' : ''
  }</p>
<p class="live">${live}</p>

<h2>Connect a client</h2>
${example('The MCP endpoint', url)}
${example('Claude Code', `claude mcp add --transport http example ${url}`)}
${example(
  'Clients that are configured by JSON',
  JSON.stringify({ mcpServers: { example: { type: 'http', url } } }, null, 2),
)}
${example(
  'MCP Inspector; without arguments it opens in the browser',
  `npx @modelcontextprotocol/inspector --cli ${url} --transport http --method tools/list`,
)}
${example(
  'By hand',
  `curl -i ${url} \\
  -H 'content-type: application/json' \\
  -H 'accept: application/json, text/event-stream' \\
  -d '${JSON.stringify(initialize)}'`,
)}

<h2>What to try</h2>
<table>
${rows(facts.stateless && !facts.perRequest ? STATELESS_TOOLS : [...STATELESS_TOOLS, ...OTHER_TOOLS])}
</table>

<h2>What else is here</h2>
<table>
<tr><td><a href="/metrics">/metrics</a></td><td>metrics for Prometheus</td></tr>
<tr><td><a href="/admin">/admin</a></td><td>the sessions, live; from this machine, or with a token</td></tr>
<tr><td><code>/hooks/announce</code></td><td>a POST tells clients something; from this machine, or with a token</td></tr>
<tr><td><a href="/healthz">/healthz</a></td><td>whether the process is alive</td></tr>
<tr><td><a href="/readyz">/readyz</a></td><td>whether new sessions are taken</td></tr>
</table>
</main>
</body>
</html>
`;
}
