import type { JSONRPCMessage } from '../../protocol/messages.js';
import type { MayUse } from '../../sessions/access.js';
import type { Registry } from '../../sessions/registry.js';
import type { Sessions } from '../../sessions/session-api.js';
import type { Message } from './mailbox.js';
import type { Migration } from './migration.js';

interface MessageReaderInit {
  readonly registry: Registry;
  readonly sessions: Pick<Sessions, 'close'>;
  readonly migration: Migration;
  readonly mayUse: MayUse;
}

/** Makes the function that carries out a message of another node. */
export function createMessageReader({ registry, sessions, migration, mayUse }: MessageReaderInit) {
  return async (message: Message): Promise<void> => {
    const { sessionId, action, by, body } = message;
    const session = registry.get(sessionId);
    if (session === undefined) return migration.passOn(message);
    if (session.mayNotRespond) return;
    const adopts = by !== 'app' && by.principal !== session.principal;
    if (adopts && !mayUse(session.principal, by.principal)) return;
    // An adopted session ends the streams and requests that were opened without a principal, so nothing waits for them.
    if (adopts && action === 'handOff') return void registry.close(session, 'moved');
    // A message of the principal belongs to the session only after the adoption.
    if (adopts && action === 'take') return;
    switch (action) {
      case 'handOff':
        return registry.handOff(session);
      case 'end':
        await sessions.close(sessionId);
        return;
      case 'take':
        session.transport?.take([body].flat() as JSONRPCMessage[], {});
    }
  };
}
