import express from 'express';
import { mcpRouter, memoryEventStore } from '../../src/index.js';
import { scriptedServer } from '../support/scripted.js';

// A router in a process of its own, whose method `fill` says as many notifications as it is asked for: `node --expose-gc
// stalled-resumes`. `GET /resumes` tells how many resumes have come, and what the process takes.

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
