// The health check of the image, which has no curl: 0 if the process answers.
const { INTERNAL_PORT = '9464' } = process.env;
const response = await fetch(`http://127.0.0.1:${INTERNAL_PORT}/healthz`, { signal: AbortSignal.timeout(4_000) });
process.exit(response.ok ? 0 : 1);
