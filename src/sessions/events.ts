export * from '../events.js';
