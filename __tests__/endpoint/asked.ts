import type { PerRequestReply } from '../support/per-request.js';

type Fields = Readonly<Record<string, unknown>>;

/** What a client answers to a form. */
export const accept = (value: string): Fields => ({ action: 'accept', content: { value } });
/** The text of a tool's result. */
export const textOf = ({ result }: PerRequestReply) => (result?.content as { text: string }[] | undefined)?.[0]?.text;

/** What a reply asks its client. */
export interface Asked {
  readonly requestState: string;
  /** The key of each question, by its message, or else its method. */
  readonly keys: ReadonlyMap<string, string>;
}

export function askedBy({ result }: PerRequestReply): Asked {
  expect(result).toMatchObject({ resultType: 'input_required' });
  const { requestState, inputRequests } = result as { requestState: string; inputRequests: Record<string, Fields> };
  const keys = Object.entries(inputRequests).map(([key, { method, params }]): [string, string] => {
    return [String((params as Fields).message ?? method), key];
  });
  return { requestState, keys: new Map(keys) };
}

/** The answers to what was asked, by message. */
export function answersTo({ keys }: Asked, values: Readonly<Record<string, string>>): Fields {
  return Object.fromEntries(Object.entries(values).map(([message, value]) => [keys.get(message) ?? '', accept(value)]));
}
