import { createHmac } from 'node:crypto';
import type { SessionInfo } from '../events.js';
import type { Registry } from '../sessions/registry.js';
import type { Session } from '../sessions/session.js';
import { shortId } from '../sessions/session-ids.js';
import type { Recorder } from './recorder.js';
import { compareRows, shortened } from './order.js';
import { Selection } from './selection.js';
import type { InspectAnswer, InspectRequest, ListQuery, NodeList, SessionDetail, SessionRow } from './views.js';

/** Hexadecimal digits of a key: 128 bits. */
const KEY_LENGTH = 32;

type Sessions = Pick<Registry, 'all' | 'get' | 'stats'>;

interface Listed {
  readonly session: Session;
  readonly info: SessionInfo;
}

/** Answers the requests of operators about the sessions of this node. */
export class LocalInspection {
  readonly #sessions: Sessions;
  readonly #recorder: Recorder;
  readonly #secret: Buffer;
  /** A hash takes microseconds, and each page asks for some again. */
  readonly #keys = new WeakMap<Session, string>();

  /** @param secret - Of the keys. The same on all nodes of a cluster. */
  constructor(sessions: Sessions, recorder: Recorder, secret: string | Buffer) {
    this.#sessions = sessions;
    this.#recorder = recorder;
    // Derived, as the secret of a cluster has another purpose.
    this.#secret = createHmac('sha256', secret).update('express-mcp-router: keys of operators').digest();
  }

  /** @throws TypeError when a newer version sent the request, and this one does not know it. The node that asks gets a failure. */
  answer(request: InspectRequest): InspectAnswer {
    switch (request.kind) {
      case 'list':
        return this.#list(request.query);
      case 'detail':
        return this.#detail(request.query);
      case 'find':
        return this.#find(request.query);
      default:
        throw new TypeError('The question is not known');
    }
  }

  #list(query: ListQuery): NodeList {
    this.#recorder.look();
    const first = new Selection<Listed>(query.offset + query.limit, (a, b) => compareRows(query, a.info, b.info));
    let found = 0;
    for (const session of this.#sessions.all()) {
      if (!isListed(session, query)) continue;
      found += 1;
      first.add({ session, info: session.info() });
    }
    return {
      stats: this.#sessions.stats(),
      rates: this.#recorder.rates(),
      found,
      rows: first.items().map(({ session, info }) => this.#row(session, info)),
    };
  }

  #detail(key: string): SessionDetail | null {
    const id = this.#idOf(key);
    if (id === undefined) return null;
    const session = this.#sessions.get(id);
    return { session: session && this.#row(session), timeline: this.#recorder.timelineOf(id) };
  }

  #find(key: string): string | null {
    const id = this.#idOf(key);
    // The timeline of a session outlives it for as long as an operator looks.
    return id !== undefined && this.#sessions.get(id) !== undefined ? id : null;
  }

  #idOf(key: string): string | undefined {
    // The page asks again and again for the session that its operator looks at.
    const watched = [...this.#recorder.watched()].find((id) => this.#hash(id) === key);
    return watched ?? this.#sessions.all().find((session) => this.#keyOf(session) === key)?.id;
  }

  #row(session: Session, { id, clientInfo, ...info } = session.info()): SessionRow {
    return {
      key: this.#keyOf(session),
      shortId: shortId(id),
      clientInfo: clientInfo && shortened(clientInfo),
      ...info,
    };
  }

  #keyOf(session: Session): string {
    const known = this.#keys.get(session);
    if (known !== undefined) return known;
    const key = this.#hash(session.id);
    this.#keys.set(session, key);
    return key;
  }

  #hash(id: string): string {
    return createHmac('sha256', this.#secret).update(id).digest('hex').slice(0, KEY_LENGTH);
  }
}

function isListed(session: Session, { state, search }: ListQuery): boolean {
  if (state !== undefined && session.state !== state) return false;
  if (search === '') return true;
  const { id, principal = '', clientInfo, membership } = session;
  const text = search.toLowerCase();
  // A part of an ID must not be confirmed digit by digit.
  if (id.toLowerCase() === text || shortId(id).toLowerCase().startsWith(text)) return true;
  return [principal, clientInfo?.name ?? '', membership?.id ?? ''].some((each) => each.toLowerCase().includes(text));
}
