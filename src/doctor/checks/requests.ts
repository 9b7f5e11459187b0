import { ANY_ERA, expect, OK, problem, SESSION_ERA, skipped, type CheckGroup, type Outcome } from '../check.js';
import type { Probe } from '../probe.js';
import { type Reply, beginningOf, isSuccess, summaryOf } from '../reply.js';
import { BASIC, CODES, HTTP, JSON_RPC, TRANSPORTS, UNKNOWN_METHOD, UNKNOWN_VERSION } from '../spec.js';

/** The first revision with the header MCP-Protocol-Version. */
const FIRST_WITH_HEADER = '2025-06-18';

/** In bytes. Twice the default limit of Express' body parser. */
const LARGE_BODY = 200_000;

/** White space before a message is JSON too (RFC 8259, 2). */
const largePing = (id: number) =>
  Buffer.from(`${' '.repeat(LARGE_BODY)}${JSON.stringify({ jsonrpc: '2.0', id, method: 'ping' })}`);

/** A request whose ID is not ASCII, in two parts that cut a character in half. */
function cutRequest(id: string): readonly Buffer[] {
  const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, method: 'ping' }));
  const middle = body.findIndex((byte) => byte >= 0x80) + 1;
  return [body.subarray(0, middle), body.subarray(middle)];
}

/** A body that is no message is refused: by a status of 4xx, or by a JSON-RPC error with that code. */
function expectRefusal(reply: Reply, code: number): Outcome {
  const isRefused = reply.status >= 400 && reply.status < 500;
  return expect(isRefused || (reply.status === 200 && reply.error?.code === code), reply);
}

/** Refusals of requests that clients send. Other methods have the pages of the framework. */
const refusalsIn = (probe: Probe): Reply[] =>
  probe.client.replies.filter(({ call, status }) => status >= 400 && ['POST', 'GET', 'DELETE'].includes(call.method));

/** A line of a stack trace: of Node (`at f (/app/x.js:1:2)`), or the first one of Python's. */
const STACK_TRACE = /\bat [^\n<]{0,200}[/\\][^\n<]{0,200}:\d+:\d+|Traceback \(most recent call last\)/;

const sent = (body: string): readonly Buffer[] => [Buffer.from(body)];

/** The replies to requests, right ones and wrong ones. */
export const REQUESTS: CheckGroup = {
  name: 'Requests',
  checks: [
    {
      id: 'request-id',
      title: 'An answer has the ID of its request, a string too',
      severity: 'error',
      source: `${BASIC}#responses`,
      mend: 'Copy the ID as it came: `"7"` is not `7`.',
      needs: [ANY_ERA],
      run: async (probe) => {
        const reply = await probe.ask({ id: '7' });
        return expect(reply.answer !== undefined, reply);
      },
    },
    {
      id: 'utf-8',
      title: 'Bodies are read and written as UTF-8, wherever a network cuts them',
      severity: 'error',
      source: TRANSPORTS,
      mend: 'Put the chunks of a body together before you decode them (`Buffer.concat`).',
      needs: [SESSION_ERA],
      run: async (probe) => {
        const id = 'doctor-é-日本-😀';
        const reply = await probe.inSession({ id, body: cutRequest(id) });
        return expect(reply.answer !== undefined, reply);
      },
    },
    {
      id: 'unknown-method',
      title: 'A method that the server does not know gets the error -32601, with the ID of the request',
      severity: 'error',
      source: `${JSON_RPC}#error_object`,
      mend: 'Answer each request, also one that no handler takes.',
      needs: [SESSION_ERA],
      run: async (probe) => {
        const reply = await probe.inSession({ method: UNKNOWN_METHOD });
        return expect(reply.answer !== undefined && reply.error?.code === CODES.methodNotFound, reply);
      },
    },
    {
      id: 'version-header',
      title: 'An `MCP-Protocol-Version` that does not exist gets 400',
      severity: 'error',
      source: `${TRANSPORTS}#protocol-version-header`,
      mend: 'Compare the header with the versions that the server supports.',
      needs: [SESSION_ERA],
      run: async (probe) => {
        const version = probe.facts.session?.version ?? '';
        if (version < FIRST_WITH_HEADER) return skipped(`${version} has no such header`);
        const reply = await probe.inSession({ headers: { 'mcp-protocol-version': UNKNOWN_VERSION } });
        return expect(reply.status === 400, reply);
      },
    },
    {
      id: 'malformed-json',
      title: "A body that is not JSON is refused as the client's mistake: 4xx, or the error -32700",
      severity: 'warning',
      source: `${JSON_RPC}#error_object`,
      mend: 'Catch what the JSON parser throws, and answer 400 with the error -32700.',
      needs: [ANY_ERA],
      run: async (probe) => {
        const reply = await probe.ask({ body: sent('{"jsonrpc":') });
        return expectRefusal(reply, CODES.parseError);
      },
    },
    {
      id: 'malformed-message',
      title: 'JSON that is no JSON-RPC message is refused: 4xx, or the error -32600',
      severity: 'warning',
      source: `${JSON_RPC}#error_object`,
      mend: 'Check the fields of a message before you use them, and answer 400 with the error -32600.',
      needs: [ANY_ERA],
      run: async (probe) => {
        const reply = await probe.ask({ body: sent('{"hello":"world"}') });
        return expectRefusal(reply, CODES.invalidRequest);
      },
    },
    {
      id: 'accept',
      title: 'An `Accept` that allows no form of the answer is no fault of the server: no 5xx',
      severity: 'warning',
      source: `${HTTP}#section-12.5.1`,
      mend: 'Answer 406, or answer in the usual form.',
      needs: [ANY_ERA],
      run: async (probe) => {
        const reply = await probe.ask({ headers: { accept: 'text/html' } });
        return expect(reply.status < 500, reply);
      },
    },
    {
      id: 'http-method',
      title: 'An HTTP method that the endpoint does not have is refused with 4xx or 501',
      severity: 'warning',
      source: `${HTTP}#section-9.1`,
      mend: 'Answer 405 with `Allow: GET, POST, DELETE`.',
      needs: [ANY_ERA],
      run: async (probe) => {
        const reply = await probe.client.send({ method: 'PUT', headers: {} });
        await reply.read(probe.options.timeoutMs);
        return expect((reply.status >= 400 && reply.status < 500) || reply.status === 501, reply);
      },
    },
    {
      id: 'allow',
      title: 'An answer with 405 names the methods that there are, in `Allow`',
      severity: 'info',
      source: `${HTTP}#section-15.5.6`,
      mend: 'Add the header `Allow` to 405. No MCP client is known to need it.',
      needs: [],
      run: ({ client }) => {
        const bare = client.replies.find(({ status, headers }) => status === 405 && headers.allow === undefined);
        return bare === undefined ? OK : problem(summaryOf(bare));
      },
    },
    {
      id: 'large-body',
      title: 'A body of 200 kB is taken: arguments of tools can be long',
      severity: 'info',
      source: `${HTTP}#section-15.5.14`,
      mend: "Raise the limit of the body parser or of the proxy. Express' default is 100 kB, that of nginx is 1 MB.",
      needs: [SESSION_ERA],
      run: async (probe) => {
        const id = 200_000;
        const reply = await probe.inSession({ id, body: [largePing(id)] });
        return expect(reply.answer !== undefined, reply);
      },
    },
    {
      id: 'json-rpc',
      title: 'Each message of a successful reply is one of JSON-RPC 2.0',
      severity: 'error',
      source: `${BASIC}#messages`,
      mend: 'Send nothing but JSON-RPC messages as `application/json` and in the `data` of events.',
      needs: [ANY_ERA],
      run: ({ client }) => {
        const strange = client.replies.find(
          (reply) => isSuccess(reply) && isMcp(reply) && (reply.body.hasOther || !reply.body.messages.every(isMessage)),
        );
        return strange === undefined ? OK : problem(summaryOf(strange));
      },
    },
    {
      id: 'html-errors',
      title: 'A refusal is not a page of HTML, which no client can read',
      severity: 'warning',
      source: `${TRANSPORTS}#sending-messages-to-the-server`,
      mend: 'Answer errors as JSON-RPC. In Express, mount an error handler after the endpoint.',
      needs: [ANY_ERA],
      run: (probe) => {
        const page = refusalsIn(probe).find(({ mediaType }) => mediaType === 'text/html');
        return page === undefined ? OK : problem(summaryOf(page));
      },
    },
    {
      id: 'stack-traces',
      title: 'No refusal shows a stack trace',
      severity: 'warning',
      source: 'https://cwe.mitre.org/data/definitions/209.html',
      mend: 'Log the error, and send a message of your own. Express sends no stack with `NODE_ENV=production`.',
      needs: [],
      run: (probe) => {
        const trace = refusalsIn(probe).find((reply) => STACK_TRACE.test(beginningOf(reply)));
        return trace === undefined ? OK : problem(summaryOf(trace));
      },
    },
  ],
};

/** Whether a reply to a POST or GET has messages. */
function isMcp({ call, mediaType, body }: Reply): boolean {
  const isOurs = call.method === 'POST' && call.id !== undefined;
  return isOurs && body.text !== '' && ['application/json', 'text/event-stream'].includes(mediaType);
}

function isMessage(message: Readonly<Record<string, unknown>>): boolean {
  if (message.jsonrpc !== '2.0') return false;
  if (typeof message.method === 'string') return true;
  return 'result' in message !== 'error' in message;
}
