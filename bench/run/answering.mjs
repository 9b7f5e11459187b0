/**
 * The counterpart of `Child` in the child process: runs the parent's tasks, concurrently if asked, and answers.
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

/** Ends this process when its parent has gone. A process with a slow start calls it first. */
export function endWithParent() {
  process.once('disconnect', () => process.exit());
  if (!process.connected) process.exit();
}
