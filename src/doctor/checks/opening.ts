import { isObject } from '../../runtime/checks.js';
import { expect, OK, problem, SESSION_ERA, skipped, type CheckGroup } from '../check.js';
import type { Opened } from '../probe.js';
import { fieldOf } from '../reply.js';
import { BASIC, LIFECYCLE, TRANSPORTS, VERSION } from '../spec.js';

/** A revision that does not exist. */
const FUTURE_VERSION = '2099-01-01';
/** The first revision with this transport. Its clients send no MCP-Protocol-Version. */
const FIRST_VERSION = '2025-03-26';

/** How sessions begin. */
export const OPENING: CheckGroup = {
  name: 'Opening',
  checks: [
    {
      id: 'initialize',
      title: "`initialize` is answered with 200 and a version, capabilities and the server's name",
      severity: 'error',
      source: `${LIFECYCLE}#initialization`,
      mend: "Look at the URL first: the endpoint's path is often `/mcp`. Then look at the server's log.",
      needs: [],
      run: ({ facts: { opening, session, discovered } }) => {
        if (session === undefined && discovered !== undefined && opening?.result === undefined)
          return skipped('the endpoint serves MCP 2026-07-28 only');
        if (opening === undefined) return problem('initialize got no answer');
        if (opening.status === 401) return skipped('the endpoint asks for authorization: give it by --header');
        const { protocolVersion, capabilities, serverInfo } = opening.result ?? {};
        const hasVersion = typeof protocolVersion === 'string' && VERSION.test(protocolVersion);
        const hasName = typeof fieldOf(serverInfo, 'name') === 'string';
        return expect(opening.status === 200 && hasVersion && isObject(capabilities) && hasName, opening);
      },
    },
    {
      id: 'version-negotiation',
      title: 'An `initialize` for a version that does not exist is not answered with that version',
      severity: 'error',
      source: `${LIFECYCLE}#version-negotiation`,
      mend: 'Answer with the latest version that the server supports, never with whatever is asked for.',
      needs: [SESSION_ERA],
      run: (probe) => {
        const judge = ({ opening }: Opened) =>
          expect(opening.result?.protocolVersion !== FUTURE_VERSION && opening.status < 500, opening);
        return probe.beside(judge, {}, FUTURE_VERSION);
      },
    },
    {
      id: 'notification',
      title: 'A notification is answered with 202, without a body',
      severity: 'error',
      source: `${TRANSPORTS}#sending-messages-to-the-server`,
      mend: 'Answer 202 with an empty body as soon as a POST has no request in it.',
      needs: [SESSION_ERA],
      run: ({ facts: { session } }) => {
        if (session === undefined) return OK;
        const { initialized } = session;
        if (initialized === undefined) return problem('notifications/initialized got no answer');
        return expect(initialized.status === 202 && initialized.body.text === '', initialized);
      },
    },
    {
      id: 'ping',
      title: '`ping` is answered with an empty result',
      severity: 'error',
      source: `${BASIC}/utilities/ping#behavior-requirements`,
      mend: 'Send the answer on the reply to the POST that had the request, not on another stream.',
      needs: [SESSION_ERA],
      run: async (probe) => {
        const reply = await probe.inSession();
        return expect(reply.status === 200 && reply.result !== undefined, reply);
      },
    },
    {
      id: 'first-revision',
      title:
        'A client of 2025-03-26, which sends no `MCP-Protocol-Version`, is served if the server agrees to that version',
      severity: 'warning',
      source: `${TRANSPORTS}#protocol-version-header`,
      mend: 'Take the version of the session where the header is missing.',
      needs: [SESSION_ERA],
      run: (probe) => {
        const use = async ({ session }: Opened) => {
          if (session?.version !== FIRST_VERSION) return skipped('the server does not agree to 2025-03-26');
          const reply = await probe.inSession({ headers: { 'mcp-protocol-version': undefined } }, session);
          return expect(reply.status === 200 && reply.answer !== undefined, reply);
        };
        return probe.beside(use, {}, FIRST_VERSION);
      },
    },
  ],
};
