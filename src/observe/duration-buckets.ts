/** Of operations and of sessions, in seconds (semantic-conventions-genai, docs/gen-ai/mcp.md, `ExplicitBucketBoundaries`). */
export const DURATION_BUCKETS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300];
