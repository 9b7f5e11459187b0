/** One event of an event stream. */
export interface StreamEvent {
  readonly id?: string;
  readonly data: string;
}

/** The end of a line in an event stream (HTML, 9.2.5). */
const LINE_END = /\r\n|\n|\r/;

/**
 * Reads the complete events of a stream, those without data included: their IDs count for a resume.
 *
 * @param text - The stream so far. An event that is not complete yet is left out.
 */
export function parseEvents(text: string): StreamEvent[] {
  const events: StreamEvent[] = [];
  let fields = new Map<string, string[]>();
  for (const line of text.replace(/^\uFEFF/, '').split(LINE_END)) {
    if (line !== '') {
      const [, name = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
      fields.set(name, [...(fields.get(name) ?? []), value]);
      continue;
    }
    const id = fields.get('id')?.at(-1);
    const data = fields.get('data')?.join('\n') ?? '';
    if (id !== undefined || data !== '') events.push({ data, ...(id !== undefined && { id }) });
    fields = new Map();
  }
  return events;
}
