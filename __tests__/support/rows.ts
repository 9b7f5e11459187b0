import { ERRORS, type ErrorName } from '../../src/errors.js';
import type { RawResponse } from './raw-http.js';

/** Checks that a response is a row of the error table, for any request ID. */
export function expectRow({ status, body }: Pick<RawResponse, 'status' | 'body'>, name: ErrorName): void {
  const { status: wanted, code, message } = ERRORS[name];
  const { id, ...answer } = JSON.parse(body) as Record<string, unknown>;
  expect({ status, ...answer }).toEqual({ status: wanted, jsonrpc: '2.0', error: { code, message } });
  expect(id).toBeDefined();
}
