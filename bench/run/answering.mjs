/**
 * The other end of `Child`: does what the parent asks for, one task after the other or many at once, and answers.
 *
 * @param {Readonly<Record<string, (input: any) => unknown>>} tasks
 */
export function answerParent(tasks) {
  process.on('message', async ({ number, task, input }) => {
    try {
      process.send({ number, result: await tasks[task](input) });
    } catch (error) {
      process.send({ number, error: error.message });
    }
  });
  endWithParent();
  process.send({ ready: true });
}

/** A parent that is gone asks for nothing more. To be called first by a process that must wait before it can answer. */
export function endWithParent() {
  process.once('disconnect', () => process.exit());
  if (!process.connected) process.exit();
}
