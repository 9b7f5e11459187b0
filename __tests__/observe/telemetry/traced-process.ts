import { ExpressInstrumentation } from '@opentelemetry/instrumentation-express';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { Recorder } from './recorder.js';

// Registers OpenTelemetry before anything else is loaded (`node --require`), and tells the test the spans that it asks for.

new HttpInstrumentation().enable();
new ExpressInstrumentation().enable();
const recorder = new Recorder();
process.on('message', (message) => {
  if (message === 'spans') process.send?.(recorder.spans);
});
