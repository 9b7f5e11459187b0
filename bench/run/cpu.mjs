/** CPU time of this process so far in ms, all threads (the garbage collector's too). */
export function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
