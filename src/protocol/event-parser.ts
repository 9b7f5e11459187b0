/** One event of an event stream. */
export interface StreamEvent {
  /** Only events of the type `message` have messages of MCP. */
  readonly type: string;
  readonly id?: string;
  readonly data: string;
}

/** The end of a line in an event stream (HTML, 9.2.5). */
const LINE_END = /\r\n|\n|\r/;

/** Reads an event stream piece by piece, each character once. */
export class EventParser {
  /** The line that has not ended yet. */
  #rest = '';
  #isStart = true;
  #endedByReturn = false;
  #type = '';
  #id: string | undefined;
  #data: string[] = [];

  /**
   * Reads the next piece.
   *
   * @returns The events that it completes, those without data included: their IDs count for a resume.
   */
  push(text: string): StreamEvent[] {
    if (text === '') return [];
    const lines = this.#withoutMark(text).split(LINE_END);
    lines[0] = this.#rest + (lines[0] ?? '');
    this.#rest = lines.pop() ?? '';
    return lines.flatMap((line) => this.#take(line));
  }

  /** Takes off a byte order mark, and the second half of a line end that two pieces share. */
  #withoutMark(text: string): string {
    const isSkipped = (this.#isStart && text.startsWith('\uFEFF')) || (this.#endedByReturn && text.startsWith('\n'));
    this.#isStart = false;
    this.#endedByReturn = text.endsWith('\r');
    return isSkipped ? text.slice(1) : text;
  }

  #take(line: string): StreamEvent[] {
    if (line === '') return this.#complete();
    const [, name, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (name === 'event') this.#type = value;
    if (name === 'id') this.#id = value;
    if (name === 'data') this.#data.push(value);
    return [];
  }

  #complete(): StreamEvent[] {
    const [type, id, data] = [this.#type, this.#id, this.#data.join('\n')];
    [this.#type, this.#id, this.#data] = ['', undefined, []];
    if (id === undefined && data === '') return [];
    return [{ type: type === '' ? 'message' : type, data, ...(id !== undefined && { id }) }];
  }
}
