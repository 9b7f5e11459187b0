/** The session of a stream: what its ID has before the first `-`; all of it, where there is none. */
export function sessionOf(streamId: string): string {
  const end = streamId.indexOf('-');
  return end === -1 ? streamId : streamId.slice(0, end);
}
