// NestJS on Express: the endpoint is a provider, and its tools use injected services.
// npm install express-mcp-router express @nestjs/common @nestjs/core @nestjs/platform-express reflect-metadata rxjs @modelcontextprotocol/sdk zod
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { mcpRouter, stop, type McpRouter } from 'express-mcp-router';
import { z } from 'zod';

const sum = { a: z.number(), b: z.number() };

@Injectable()
class Calculator {
  add(a: number, b: number): number {
    return a + b;
  }
}

/** Every session has a server of its own, and all of them share the services. */
function buildServer(calculator: Calculator): McpServer {
  const server = new McpServer({ name: 'nestjs', version: '1.0.0' });
  server.registerTool('add', { description: 'Adds two numbers', inputSchema: sum }, ({ a, b }) => ({
    content: [{ type: 'text', text: String(calculator.add(a, b)) }],
  }));
  return server;
}

const MCP = Symbol('the MCP endpoint');

// `inject` names the services, so no compiler option is needed. Constructors are injected with `emitDecoratorMetadata`.
@Module({
  providers: [
    Calculator,
    {
      provide: MCP,
      inject: [Calculator],
      useFactory: (calculator: Calculator): McpRouter =>
        mcpRouter({ serverFactory: () => buildServer(calculator), perRequest: true }),
    },
  ],
})
class AppModule {}

async function bootstrap(): Promise<void> {
  const app = await NestFactory.create<NestExpressApplication>(AppModule);
  const mcp = app.get<McpRouter>(MCP);
  // `listen` adds Nest's body parser, which refuses a body of more than 100 kB, and its 404. So the endpoint comes first.
  // Nest's guards do not run here: authenticate before `mcp` (docs/authentication.md).
  app.use('/mcp', mcp);
  await app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1');

  process.once('SIGTERM', () => {
    void stop(app.getHttpServer(), mcp, { timeoutMs: 10_000 })
      .then(() => app.close()) // runs the shutdown hooks of your providers
      .then(() => process.exit());
  });
}

void bootstrap();
