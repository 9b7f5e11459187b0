import type { McpRouter } from 'express-mcp-router';
import express, { Router, type ErrorRequestHandler, type RequestHandler } from 'express';
import { z } from 'zod';
import { LEVELS } from './tool-definitions.js';

const announcement = z
  .strictObject({
    text: z.string().min(1).max(2_000),
    level: z.enum(LEVELS).default('notice'),
    session: z.string().min(1).optional(),
    principal: z.union([z.string().min(1), z.strictObject({ iss: z.string(), sub: z.string() })]).optional(),
  })
  .refine(
    ({ session, principal }) => session === undefined || principal === undefined,
    'session or principal, not both',
  );

/** Webhooks, by which other programs tell the clients something: one session, one principal or all. */
export function createHooks({ notify }: Pick<McpRouter, 'notify'>, guard: RequestHandler): Router {
  const hooks = Router();
  hooks.post('/announce', guard, express.json({ limit: '16kb' }), async (req, res) => {
    // A page of another site can send other media types without a preflight.
    if (req.is('application/json') === false) {
      res.status(415).json({ error: 'send application/json' });
      return;
    }
    const parsed = announcement.safeParse(req.body);
    if (!parsed.success) {
      res.status(400).json({ error: z.prettifyError(parsed.error) });
      return;
    }
    const { text, level, session, principal } = parsed.data;
    const message = { method: 'notifications/message', params: { level, logger: 'announce', data: text } };
    const target = session !== undefined ? { session } : principal !== undefined ? { principal } : undefined;
    res.json(await notify.send(message, target));
  });
  hooks.use(explain);
  return hooks;
}

/** A body that is no JSON, or a target that the router refuses. */
const explain: ErrorRequestHandler = (error: unknown, _req, res, next) => {
  const { status = error instanceof TypeError ? 400 : 500 } = error as { status?: number };
  if (res.headersSent || status >= 500) return next(error);
  res.status(status).json({ error: (error as Error).message });
};
