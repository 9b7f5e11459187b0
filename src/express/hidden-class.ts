import type { IncomingMessage, ServerResponse } from 'node:http';

/** Whether V8 does what {@link shareHiddenClasses} describes: V8 12.9 (Node 23) does, V8 13.6 (Node 24) does not. */
const FORGETS_TRANSITIONS = Number(process.versions.v8.split('.')[0]) < 13;

const marked = Symbol('messages are made with this prototype');

/** Marks a prototype with which a server creates its messages. Their hidden classes need no repair. */
export function markPrototype(prototype: object): void {
  Reflect.defineProperty(prototype, marked, { value: true });
}

/**
 * Makes requests and responses share hidden classes again after Express has replaced their prototypes.
 *
 * After a prototype was replaced, V8 stores no transitions (V8 commit 548f6c81d424; nodejs/node#37457). Each property that
 * Express then adds gives the object a hidden class of its own. So later accesses, above all those of Node, miss V8's inline
 * caches. Deleting a property puts an object into dictionary mode. That is slower than a shared hidden class, but all objects in
 * this mode share one, so the inline caches work.
 *
 * V8 finds that class in a table of 64 places, by a random hash of the prototype. In one app of 64, requests and responses have
 * the same place, and this function has no effect.
 */
export function shareHiddenClasses(req: IncomingMessage, res: ServerResponse): void {
  if (!FORGETS_TRANSITIONS) return;
  try {
    // Fields that Node sets early. If the field that was set last is deleted, V8 only returns to the hidden class before it.
    setAgain(req, 'statusMessage');
    setAgain(res, 'sendDate');
  } catch {
    // Other middleware froze one of them. That only costs speed.
  }
}

function setAgain<Message extends object>(message: Message, field: keyof Message): void {
  if (Object.hasOwn(Object.getPrototypeOf(message) as object, marked)) return;
  const value = message[field];
  Reflect.deleteProperty(message, field);
  message[field] = value;
}
