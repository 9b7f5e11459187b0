import type { IncomingMessage, ServerResponse } from 'node:http';

/** V8 12.9 (Node 23) still does what is described below, V8 13.6 (Node 24) no longer does. */
const FORGETS_TRANSITIONS = Number(process.versions.v8.split('.')[0]) < 13;

const born = Symbol('messages are made with this prototype');

/** Notes of a prototype that a server makes its messages with it. */
export function markPrototype(prototype: object): void {
  Reflect.defineProperty(prototype, born, { value: true });
}

/**
 * Gives requests and responses hidden classes in common again, where Express has taken theirs from them.
 *
 * Express replaces the prototypes of both, then sets properties of its own. Where a prototype was replaced V8 remembers no
 * transitions (V8 commit 548f6c81d424; nodejs/node#37457), so each new property makes a hidden class for that one object, and
 * whoever touches it from then on, Node above all, misses V8's inline caches. An object that a property was deleted from is in
 * dictionary mode: slower than one whose hidden class is known, but all of them share one, and it is known. (V8 finds it again
 * in a table of 64 places, by a random hash of the prototype. In one app of 64, requests and responses take the place from
 * each other, and nothing is won.)
 */
export function shareHiddenClasses(req: IncomingMessage, res: ServerResponse): void {
  if (!FORGETS_TRANSITIONS) return;
  try {
    // Documented fields that Node has set on each of them early: to delete the one that was set last, V8 only takes a step back.
    setAgain(req, 'statusMessage');
    setAgain(res, 'sendDate');
  } catch {
    // Other middleware froze one of them, which costs speed alone.
  }
}

function setAgain<Message extends object>(message: Message, field: keyof Message): void {
  if (Object.hasOwn(Object.getPrototypeOf(message) as object, born)) return;
  const value = message[field];
  Reflect.deleteProperty(message, field);
  message[field] = value;
}
