/** The server info of every contender. */
export const INFO = { name: 'bench', version: '1.0.0' };
