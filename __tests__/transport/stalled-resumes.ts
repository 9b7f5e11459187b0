import express from 'express';
import { mcpRouter, memoryEventStore } from '../../src/index.js';
import { scriptedServer } from '../support/scripted.js';

// A router in a process of its own, for `node --expose-gc`. Its method `fill` sends as many notifications as its params say.
// `GET /resumes` returns the number of resumes so far, and the memory of the process.

let resumes = 0;
const serverFactory = () =>
  scriptedServer({
    fill: async ({ events, bytes }, { sendNotification }) => {
      const data = 'x'.repeat(Number(bytes));
      for (let n = 0; n < Number(events); n += 1) {
        await sendNotification({ method: 'notifications/message', params: { level: 'info', data } });
      }
      return {};
    },
  });

const app = express();
app.get('/resumes', (_req, res) => {
  globalThis.gc!();
  res.json({ resumes, rss: process.memoryUsage().rss });
});
app.use((req, _res, next) => {
  if (req.headers['last-event-id'] !== undefined) resumes += 1;
  next();
});
app.use(
  '/mcp',
  mcpRouter({ serverFactory, logger: false, eventStore: memoryEventStore({ maxBytesPerSession: 64 * 1024 * 1024 }) }),
);
const http = app.listen(0, '127.0.0.1', () => {
  const address = http.address();
  if (typeof address === 'object' && address !== null) process.send?.({ port: address.port });
});
