/** A message off the wire: what it has depends on what it is; a test knows what it waits for. */
export interface WireMessage {
  readonly id: string | number;
  readonly method: string;
  readonly params: {
    readonly data: string;
    readonly requestId: string | number;
    readonly _meta: { readonly progressToken: string | number };
  };
  readonly result: Readonly<Record<string, unknown>>;
  readonly error: { readonly code: number; readonly message: string };
}

/** One block of an event stream (HTML, 9.2): an event, or a comment. */
export interface Block {
  readonly id: string | undefined;
  readonly retry: number | undefined;
  readonly comment: string | undefined;
  readonly data: string;
}

/** Reads an SSE reply as it arrives. */
export class EventStream {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #text = '';

  constructor(response: Response) {
    if (response.status !== 200 || response.body === null) throw new Error(`not a stream: ${response.status}`);
    this.#reader = response.body.getReader();
  }

  /** The next block; undefined when the reply has ended as it should. Rejects when it was broken off. */
  async block(): Promise<Block | undefined> {
    for (;;) {
      const end = this.#text.indexOf('\n\n');
      if (end >= 0) {
        const block = parse(this.#text.slice(0, end));
        this.#text = this.#text.slice(end + 2);
        return block;
      }
      const { done, value } = await this.#reader.read();
      if (!done) this.#text += this.#decoder.decode(value, { stream: true });
      else if (this.#text === '') return undefined;
      else throw new Error(`the stream ended within a block: ${this.#text}`);
    }
  }

  /** All blocks to the end. */
  async blocks(): Promise<Block[]> {
    const blocks: Block[] = [];
    for (let block = await this.block(); block !== undefined; block = await this.block()) blocks.push(block);
    return blocks;
  }

  /** The next event that carries a message, and its ID; fails at the end of the stream. */
  async event(): Promise<{ id: string | undefined; message: WireMessage }> {
    for (;;) {
      const block = await this.block();
      if (block === undefined) throw new Error('the stream ended without another message');
      if (block.data !== '') return { id: block.id, message: JSON.parse(block.data) as WireMessage };
    }
  }

  async message(): Promise<WireMessage> {
    return (await this.event()).message;
  }

  /** All messages to the end. */
  async messages(): Promise<WireMessage[]> {
    return (await this.blocks()).filter(({ data }) => data !== '').map(({ data }) => JSON.parse(data) as WireMessage);
  }
}

function parse(text: string): Block {
  const lines = text.split('\n');
  const field = (name: string): string | undefined =>
    lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  const retry = field('retry');
  return {
    id: field('id'),
    retry: retry === undefined ? undefined : Number(retry),
    comment: field(''),
    data: field('data') ?? '',
  };
}
