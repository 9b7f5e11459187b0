import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerContext } from 'express-mcp-router';
import { z } from 'zod';
import { say, type ToolResult } from './results.js';

// The definitions of the tools and their work, for both versions of the SDK. Built once, not for each session:
// building schemas is the slowest part of registering a tool.

export const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'] as const;

export const ECHO = {
  title: 'Echo',
  description: 'Says back what it is told.',
  inputSchema: z.object({ text: z.string().describe('What to say back') }),
};

export const COUNTDOWN = {
  title: 'Count down',
  description: 'Counts down, with progress every second for clients that ask for it. It can be cancelled.',
  inputSchema: z.object({ seconds: z.number().int().min(0).max(60).describe('How long to count, 0 to 60') }),
};

export const WHOAMI = {
  title: 'Who am I',
  description: 'Tells the session (shortened, as a full session ID is a secret) and the principal.',
  outputSchema: z.object({
    session: z.string().nullable().describe('The first characters of the session ID; null without a session'),
    principal: z.string().nullable().describe('Who is asking; null if nobody known'),
  }),
};

export const ASK_NAME = {
  title: 'Ask for a name',
  description: 'Asks the user for their name (elicitation) and greets them.',
};

export const ANNOUNCE = {
  title: 'Announce',
  description:
    'Sends a log message on the GET stream, where clients hear from the server without having asked. Clients without a ' +
    'session get it on the reply to this call, if they ask for log messages.',
  inputSchema: z.object({
    text: z.string().max(2_000).describe('What to announce'),
    level: z.enum(LEVELS).default('notice').describe('How important it is; clients can set what they want to hear of'),
  }),
};

/** The question of `ask_name`. */
export const NAME_FORM = {
  message: 'What is your name?',
  requestedSchema: {
    type: 'object' as const,
    properties: { name: { type: 'string' as const, title: 'Name', minLength: 1, maxLength: 100 } },
    required: ['name'],
  },
};

/** Reports progress. */
export type Report = (progress: { progress: number; total: number; message: string }) => Promise<void>;

/** @param report - Undefined for a client that wants no progress. */
export async function countDown(seconds: number, signal: AbortSignal, report: Report | undefined): Promise<ToolResult> {
  for (let progress = 1; progress <= seconds; progress += 1) {
    await sleep(1000, undefined, { signal });
    await report?.({ progress, total: seconds, message: `${seconds - progress} s to go` });
  }
  return say(`Counted down from ${seconds}.`);
}

export function whoAmI(context: ServerContext): ToolResult {
  const session = context.sessionId?.slice(0, 8) ?? null;
  const principal = context.principal ?? null;
  return {
    ...say(`Session ${session ?? '(none)'}, principal ${principal ?? '(nobody known)'}.`),
    structuredContent: { session, principal },
  };
}

/** @param action - What the user did with the question. */
export function greet(action: 'accept' | 'decline' | 'cancel', name: unknown): ToolResult {
  if (action === 'decline') return say('No name was given, which is fine.');
  if (action === 'cancel') return say('The question was put aside.');
  return say(`Hello, ${String(name)}!`);
}
