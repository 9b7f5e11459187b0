import { randomUUID } from 'node:crypto';
import { expect, OK, problem, SESSION_ID, skipped, type CheckGroup } from '../check.js';
import { isSuccess, summaryOf } from '../reply.js';
import { TRANSPORTS } from '../spec.js';

const SOURCE = `${TRANSPORTS}#session-management`;

/** A shorter ID has less than 64 random bits, at 6 bits a character (OWASP, Session Management Cheat Sheet). */
const MIN_ID_LENGTH = 11;
/** Two random IDs of that length agree in all but so few characters less than once in 10^12. */
const MIN_DIFFERENCE = 4;

const NO_SECOND = 'the endpoint opened no second session';

/** Counts the characters in which two IDs of one length differ. */
function difference(a: string, b: string): number {
  if (a.length !== b.length) return Infinity;
  return Array.from(a).filter((character, index) => character !== b[index]).length;
}

/** How sessions are named, and how they end. */
export const SESSIONS: CheckGroup = {
  name: 'Sessions',
  checks: [
    {
      id: 'session-id-characters',
      title: 'A session ID has visible ASCII characters only',
      severity: 'error',
      source: SOURCE,
      mend: 'Use `crypto.randomUUID()`.',
      needs: [SESSION_ID],
      run: ({ facts }) => {
        const id = facts.session?.id ?? '';
        return /^[\x21-\x7e]+$/.test(id) ? OK : problem(`the session ID is ${JSON.stringify(id)}`);
      },
    },
    {
      id: 'session-id-random',
      title: 'A session ID cannot be guessed from another one',
      severity: 'warning',
      source: SOURCE,
      mend: 'Use `crypto.randomUUID()`, never a counter or the time.',
      needs: [SESSION_ID],
      run: async (probe) => {
        const first = probe.facts.session?.id ?? '';
        const second = await probe.beside(({ session }) => session?.id);
        if (second === undefined) return skipped(NO_SECOND);
        const isLong = first.length >= MIN_ID_LENGTH && second.length >= MIN_ID_LENGTH;
        if (isLong && difference(first, second) >= MIN_DIFFERENCE) return OK;
        return problem(`two sessions have the IDs ${first} and ${second}`);
      },
    },
    {
      id: 'missing-session-id',
      title: 'A request without a session ID gets 400, if the server needs one',
      severity: 'warning',
      source: SOURCE,
      mend: 'Answer 400 to everything but `initialize` that comes without `Mcp-Session-Id`.',
      needs: [SESSION_ID],
      run: async (probe) => {
        const reply = await probe.inSession({ headers: { 'mcp-session-id': undefined } });
        return expect(reply.status === 400 || isSuccess(reply), reply);
      },
    },
    {
      id: 'unknown-session',
      title: 'A request with an unknown session ID gets 404: after a restart, every ID is unknown',
      severity: 'warning',
      source: SOURCE,
      mend: 'Answer 404, on which clients begin a new session. On 400 they give up.',
      needs: [SESSION_ID],
      run: async (probe) => {
        const reply = await probe.inSession({ headers: { 'mcp-session-id': randomUUID() } });
        return expect(reply.status === 404, reply);
      },
    },
    {
      id: 'delete',
      title: 'DELETE ends a session, or is answered with 405',
      severity: 'warning',
      source: SOURCE,
      mend: 'Route DELETE to the transport, or answer 405. Otherwise each client leaves its session behind.',
      needs: [SESSION_ID],
      run: (probe) =>
        probe.beside(async ({ session }) => {
          if (session === undefined) return skipped(NO_SECOND);
          const reply = await probe.end(session);
          return expect(isSuccess(reply) || reply.status === 405, reply);
        }),
    },
    {
      id: 'ended-session',
      title: 'A session that was ended gets 404, for POST and for GET',
      severity: 'error',
      source: SOURCE,
      mend: 'Forget the session on DELETE, and answer 404 to an ID that is not known.',
      needs: [SESSION_ID],
      run: (probe) =>
        probe.beside(async ({ session }) => {
          if (session === undefined) return skipped(NO_SECOND);
          if (!isSuccess(await probe.end(session))) return skipped('the endpoint does not end sessions');
          const post = await probe.inSession({}, session);
          if (post.status !== 404) return problem(summaryOf(post));
          const get = await probe.openStream({ 'mcp-session-id': session.id });
          if (get.status !== 404 && get.status !== 405) await get.read(200);
          get.close();
          return expect(get.status === 404 || get.status === 405, get);
        }),
    },
  ],
};
