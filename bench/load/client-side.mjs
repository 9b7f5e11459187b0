import { CALLS } from './calls.mjs';
import { newAuthorization, statelessClient } from './client.mjs';
import { Connection } from './connection.mjs';
import { Listener } from './listener.mjs';
import { ModernClient } from './modern-client.mjs';
import { Session } from './session.mjs';
import { loop, measured, repeat } from './window.mjs';

/** @typedef {import('./window.mjs').Window} Window */

/** @param {string} url @returns {import('./client.mjs').Target} */
function targetOf(url) {
  const { hostname, port, pathname } = new URL(url);
  return { host: hostname, port: Number(port), path: pathname };
}

/** All clients of one contender, with their tasks. Every answer is checked; a wrong one rejects the task. */
export class ClientSide {
  #target;
  #clients = [];
  #listeners = [];
  #heard = 0;
  #failure;
  #onHeard = () => undefined;

  /** @param {string} url The contender's endpoint. */
  constructor(url) {
    this.#target = targetOf(url);
  }

  /**
   * Moves all clients, with their open sessions, to another endpoint.
   *
   * @param {string} url
   */
  move(url) {
    this.#target = targetOf(url);
    for (const client of this.#clients) client.moveTo(this.#target);
  }

  /**
   * Opens sessions until there are `count`.
   *
   * @param {{ count: number, concurrency: number, signedIn?: boolean }} how `signedIn`: each client sends a token of its own.
   * @returns {Promise<Window>}
   */
  open({ count, concurrency, signedIn = false }) {
    return this.#connected(concurrency, (connections) =>
      repeat(connections, count - this.#clients.length, async (connection) => {
        this.#clients.push(await Session.open(connection, this.#target, signedIn ? newAuthorization() : ''));
      }),
    );
  }

  /**
   * Creates clients without sessions.
   *
   * @param {{ count: number, modern: boolean, signedIn?: boolean }} how
   */
  stateless({ count, modern, signedIn = false }) {
    const { tool } = CALLS.echo;
    const make = modern
      ? () => new ModernClient(this.#target, tool, signedIn ? newAuthorization() : '')
      : () => statelessClient(this.#target);
    this.#clients = Array.from({ length: count }, make);
  }

  /**
   * Calls a tool for `ms`, with each client in turn.
   *
   * @param {{ call: keyof typeof CALLS, concurrency: number, ms: number }} how
   * @returns {Promise<Window>}
   */
  call({ call, concurrency, ms }) {
    let turn = 0;
    const clients = this.#clients;
    return this.#connected(concurrency, (connections) =>
      loop(connections, ms, (connection) => clients[turn++ % clients.length].call(connection, CALLS[call])),
    );
  }

  /**
   * Calls a tool once with each of the first `count` clients, one after the other.
   *
   * @param {{ call: keyof typeof CALLS, count: number }} how
   * @returns {Promise<Window>}
   */
  callEach({ call, count }) {
    const left = this.#clients.slice(0, count);
    return this.#connected(1, (connections) =>
      repeat(connections, count, (connection) => left.shift().call(connection, CALLS[call])),
    );
  }

  /**
   * Opens and ends sessions for `ms`, then checks that the last ones have ended.
   *
   * @param {{ concurrency: number, ms: number }} how
   * @returns {Promise<Window>}
   */
  cycle({ concurrency, ms }) {
    const last = new Map();
    return this.#connected(concurrency, async (connections) => {
      const window = await loop(connections, ms, async (connection) => {
        const session = await Session.open(connection, this.#target);
        await session.end(connection);
        last.set(connection, session);
      });
      await Promise.all([...last].map(([connection, session]) => session.expectEnded(connection)));
      return window;
    });
  }

  /**
   * Opens a stream of every client that has none: the standalone stream of a session, or a subscription.
   *
   * @param {{ subject: import('./listener.mjs').Subject }} what
   */
  async listen({ subject }) {
    for (const client of this.#clients.slice(this.#listeners.length)) {
      const listener = new Listener(client, this.#target, subject, (error, ms) => {
        this.#heard += 1;
        this.#failure ??= error;
        this.#onHeard(ms);
      });
      this.#listeners.push(listener);
      await listener.open();
    }
  }

  /**
   * Resolves when every stream has received `total` notifications since it was opened.
   *
   * @param {{ total: number }} how
   * @returns {Promise<Window>}
   */
  hear({ total }) {
    const wanted = total * this.#listeners.length;
    return measured(
      (done) =>
        new Promise((resolve, reject) => {
          this.#onHeard = (ms) => {
            if (ms !== undefined) done(ms);
            if (this.#failure !== undefined) reject(this.#failure);
            else if (this.#heard >= wanted) resolve();
          };
          this.#onHeard();
        }),
    );
  }

  /** Closes all sockets; the sessions stay open. */
  close() {
    for (const listener of this.#listeners) listener.close();
    this.#listeners = [];
    this.#onHeard = () => undefined;
  }

  /** @template T @param {number} count @param {(connections: Connection[]) => Promise<T>} use @returns {Promise<T>} */
  async #connected(count, use) {
    const connections = Array.from({ length: count }, () => new Connection(this.#target));
    try {
      await Promise.all(connections.map((connection) => connection.opened()));
      return await use(connections);
    } finally {
      for (const connection of connections) connection.close();
    }
  }
}
