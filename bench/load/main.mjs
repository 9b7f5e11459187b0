// The load generator: a process of its own, so that it neither slows down a contender nor is counted with it.
import { answerParent } from '../run/answering.mjs';
import { ClientSide } from './client-side.mjs';

/** @type {ClientSide} */
let clients;

answerParent({
  target: (url) => {
    clients?.close();
    clients = new ClientSide(url);
  },
  move: (url) => clients.move(url),
  open: (input) => clients.open(input),
  stateless: (input) => clients.stateless(input),
  call: (input) => clients.call(input),
  callEach: (input) => clients.callEach(input),
  cycle: (input) => clients.cycle(input),
  listen: (input) => clients.listen(input),
  hear: (input) => clients.hear(input),
});
