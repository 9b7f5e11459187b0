import { STATUS_CODES, type ServerResponse } from 'node:http';
import { Counter } from 'prom-client';
import { ERRORS, type ErrorName, type RepliedError } from '../../errors.js';
import { errorOf } from '../../transport/response-facts.js';
import { atZero, type SharedMetrics } from './shared-metrics.js';

/** Counts a response when it is over. */
export type CountResponse = (res: ServerResponse) => void;

/** The label of a reply without an error of the table. */
const NO_ERROR = 'none';

/** The statuses of the router's replies without an error. */
const STATUSES = [200, 202, 204];

/** The label of a status that HTTP does not define. Other middleware may have set it. */
const OTHER_STATUS = 'other';

/**
 * Counts responses to clients by status and error. A request whose client disconnected before the head of the response is not
 * counted.
 */
export function createResponseCounter(metrics: SharedMetrics): CountResponse {
  const counter = metrics.share(
    Counter,
    {
      name: 'mcp_http_responses_total',
      help: 'HTTP responses to MCP clients, counted at their end.',
      labelNames: ['status', 'error'],
    },
    (shared) => shared,
  );
  const children = new Map<string, Map<number, Counter.Internal>>();
  const childOf = (status: number, error: RepliedError | typeof NO_ERROR): Counter.Internal => {
    let byStatus = children.get(error);
    if (byStatus === undefined) children.set(error, (byStatus = new Map<number, Counter.Internal>()));
    let child = byStatus.get(status);
    if (child === undefined) byStatus.set(status, (child = counter.labels(labelOf(status), error)));
    return child;
  };
  for (const status of STATUSES) atZero(childOf(status, NO_ERROR));
  for (const [name, { status }] of Object.entries(ERRORS)) atZero(childOf(status, name as ErrorName));

  // One function for all responses, so that a request allocates no closure.
  function count(this: ServerResponse): void {
    if (this.headersSent) childOf(this.statusCode, errorOf(this) ?? NO_ERROR).inc();
  }
  return (res) => void res.on('close', count);
}

function labelOf(status: number): string {
  return status in STATUS_CODES ? String(status) : OTHER_STATUS;
}
