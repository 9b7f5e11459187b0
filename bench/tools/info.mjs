/** What every contender says that it is. */
export const INFO = { name: 'bench', version: '1.0.0' };
