// A job's request as code that makes it again.

const BASE = new URL("./", location.href).href.replace(/\/$/, "");
const CLIENT = JSON.stringify("./client.js");
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** What was asked for, as it would be sent again. */
export const requestOf = (job) => ({
  model: job.model,
  input: job.input,
  ...(Object.keys(job.metadata ?? {}).length && { metadata: job.metadata }),
  ...(job.priority !== "normal" && { priority: job.priority }),
});

const python = (value) => JSON.stringify(value, null, 4).replace(/"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b/g, (part) => ({ true: "True", false: "False", null: "None" })[part] ?? part);

export const SNIPPETS = {
  curl: (job) => `curl -fsS ${BASE}/v1/jobs -H "Authorization: Bearer $KEY" \\
  -H "Idempotency-Key: $(uuidgen)" -H 'Content-Type: application/json' \\
  -d ${quoted(JSON.stringify(requestOf(job), null, 2))}`,
  Python: (job) => `import os, uuid
import httpx2

answer = httpx2.post(
    "${BASE}/v1/jobs",
    headers={"Authorization": f"Bearer {os.environ['KEY']}", "Idempotency-Key": str(uuid.uuid4()), "Prefer": "wait=60"},
    json=${python(requestOf(job)).replaceAll("\n", "\n    ")},
    timeout=90,
)
print(answer.raise_for_status().json()["status"])`,
  JavaScript: (job) => `import { Reelay } from ${CLIENT}; // a copy of ${BASE}/client.js

const reelay = new Reelay({ baseUrl: "${BASE}", credential: process.env.KEY });
const job = await reelay.create(${JSON.stringify(requestOf(job), null, 2)});
console.log((await reelay.finished(job)).video?.url);`,
};
