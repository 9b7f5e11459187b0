import { trace } from '@opentelemetry/api';
import { z } from 'zod';
import { openTelemetry } from '../../../src/otel.js';
import { InProcessNode, type Tool } from '../../cluster/in-process.js';

// Two nodes of a cluster in a process whose HTTP is traced. Argument: the URL of Redis.

const work: Tool = async ({ extra }) => {
  await trace.getTracer('app').startActiveSpan('the app works', async (span) => {
    await extra.sendRequest({ method: 'roots/list' }, z.object({}).loose());
    span.end();
  });
};

async function main(): Promise<void> {
  const options = { telemetry: openTelemetry(), tools: { work } };
  const [a, b] = await Promise.all(
    ['a', 'b'].map((name) => InProcessNode.start(process.argv[2]!, 'traced:', { ...options, name })),
  );
  process.send?.([a!.url.href, b!.url.href]);
}

void main();
