const FACTOR = Number(process.env.PROPERTY_FACTOR ?? 1);

/** How often a property runs. `npm run check:long` runs it more often than `npm test`. */
export const runs = (count: number): number => Math.ceil(count * FACTOR);
