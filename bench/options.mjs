import { parseArgs } from 'node:util';

const USAGE = `Usage: npm run bench -- [options]

  --quick              a small run that only shows whether everything works
  --works a,b          only these workloads
  --contenders a,b     only these contenders (and those that the ratios need)
  --rounds n           how many rounds
  --out directory      where to write; default: bench/ for a full run, else a temporary directory
  --profile            also writes a CPU profile of each contender to bench/.cache/, for run/top.mjs to read
  --from a.json,b.json write the report of earlier runs again; the last file wins for a workload in several
  --list               the names of workloads and contenders
`;

/** The command line is invalid. */
export class UsageError extends Error {}

/**
 * @typedef {object} Options
 * @property {boolean} quick
 * @property {readonly string[] | undefined} works
 * @property {readonly string[] | undefined} contenders
 * @property {number | undefined} rounds
 * @property {string | undefined} out
 * @property {readonly string[] | undefined} from
 * @property {boolean} profile
 * @property {boolean} list
 *
 * @param {readonly string[]} args
 * @param {{ works: readonly string[], contenders: readonly string[] }} known
 * @returns {Options}
 * @throws {UsageError}
 */
export function parseOptions(args, known) {
  const { values } = parse(args);
  return {
    quick: values.quick ?? false,
    list: values.list ?? false,
    profile: values.profile ?? false,
    works: names('works', values.works, known.works),
    contenders: names('contenders', values.contenders, known.contenders),
    rounds: count('rounds', values.rounds),
    out: values.out,
    from: values.from?.split(','),
  };
}

function parse(args) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        quick: { type: 'boolean' },
        list: { type: 'boolean' },
        profile: { type: 'boolean' },
        works: { type: 'string' },
        contenders: { type: 'string' },
        rounds: { type: 'string' },
        out: { type: 'string' },
        from: { type: 'string' },
      },
    });
  } catch (error) {
    throw new UsageError(`${error.message}\n\n${USAGE}`);
  }
}

function names(option, given, known) {
  if (given === undefined) return undefined;
  const chosen = given.split(',');
  const unknown = chosen.filter((name) => !known.includes(name));
  if (unknown.length === 0) return chosen;
  throw new UsageError(`--${option}: there is no ${unknown.join(', ')}; there are ${known.join(', ')}`);
}

function count(option, given) {
  if (given === undefined) return undefined;
  const number = Number(given);
  if (Number.isInteger(number) && number > 0) return number;
  throw new UsageError(`--${option} takes a whole number of 1 or more; got ${given}`);
}
