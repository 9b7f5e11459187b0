import express5 from 'express';

export type Express = typeof express5;

/** Whether the suites run without Express, on plain node:http (jest.config.ts). */
export const ON_NODE = process.env.HTTP === 'node';

/** Every major version of Express that is supported. */
export const EXPRESSES: readonly [string, Express][] = [
  ['Express 5', express5],
  ['Express 4', jest.requireActual<Express>('express4')],
];
