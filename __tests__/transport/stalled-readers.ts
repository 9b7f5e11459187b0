import express from 'express';
import { mcpRouter, memoryEventStore } from '../../src/index.js';
import { scriptedServer } from '../support/scripted.js';

// A router in a process of its own, for `node --expose-gc`. Its method `fill` sends as many notifications as its params say, and
// `big` returns so many bytes; `hang` never ends. `GET /stalled` returns the number of resumes and calls so far, and the memory in
// use; `?gc` collects garbage first.

let resumes = 0;
let calls = 0;
const text = (bytes: string | undefined): string => 'x'.repeat(Number(bytes));
const serverFactory = () =>
  scriptedServer({
    fill: async ({ events, bytes }, { sendNotification }) => {
      const data = text(bytes);
      for (let n = 0; n < Number(events); n += 1) {
        await sendNotification({ method: 'notifications/message', params: { level: 'info', data } });
      }
      return {};
    },
    big: ({ bytes }) => {
      calls += 1;
      return { text: text(bytes) };
    },
    hang: () => {
      calls += 1;
      return new Promise(() => undefined);
    },
  });

/** Bytes. The resident set is no measure: V8 returns freed pages in threads of its own, late on a busy machine. */
function memoryInUse(): number {
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  // A string that Node writes is in `arrayBuffers` alone; a buffer that JavaScript holds is in both.
  return heapUsed + Math.max(external, arrayBuffers);
}

const app = express();
app.get('/stalled', (req, res) => {
  if ('gc' in req.query) globalThis.gc!();
  res.json({ resumes, calls, inUse: memoryInUse() });
});
app.use((req, _res, next) => {
  if (req.headers['last-event-id'] !== undefined) resumes += 1;
  next();
});
const eventStore = memoryEventStore({ maxBytesPerSession: 64 * 1024 * 1024 });
app.use('/mcp', mcpRouter({ serverFactory, logger: false, eventStore }));
app.use('/plain', mcpRouter({ serverFactory, logger: false, maxReplyMemory: 64 * 1024 * 1024 }));
const http = app.listen(0, '127.0.0.1', () => {
  const address = http.address();
  if (typeof address === 'object' && address !== null) process.send?.({ port: address.port });
});
// A turn of the event loop may take longer here than Node keeps an idle connection.
http.keepAliveTimeout = 120_000;
