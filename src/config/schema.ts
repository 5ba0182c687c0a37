import { z } from 'zod';
import type { Policy } from '../domain/policy.js';
import { apiSchema } from './api.js';
import { coldSchema } from './cold.js';
import { drillSchema } from './drill.js';
import { reportsSchema } from './reports.js';

/** The shape of recovery.yaml. What it cannot say (unique names, URLs, destinations) is in checks.ts. */

// `shard: 01` is the number 1 in YAML: say what to do about it.
const text = (description: string) =>
  z
    .string({
      error: (issue) =>
        typeof issue.input === 'number' ? 'expected text: write it in quotes, such as "01"' : undefined,
    })
    .min(1)
    .max(4_096)
    .describe(description);

const secretRef = (description: string) =>
  z
    .union(
      [
        z.strictObject({ env: text('name of an environment variable') }),
        z.strictObject({ file: text('path of a file') }),
      ],
      {
        error: 'write { env: NAME } or { file: PATH }; a secret itself is refused here',
      },
    )
    .describe(description);

const count = (max: number) => z.int().min(1).max(max);
const MAX_SECONDS = 31_536_000;

const policySchema = z
  .strictObject({
    approval: z.enum(['required', 'auto']).describe('`auto` runs the plan at once'),
    approvalTimeoutSeconds: count(MAX_SECONDS).describe('wait so long for somebody to approve the plan'),
    onFailure: z
      .enum(['stay-fenced', 'unfence'])
      .describe('what becomes of the fence when a recovery ends without success'),
    lanesPerNode: count(1_024).describe(
      'tables worked on at once, per node; of a large plan, what each node begins with',
    ),
    maxTablesInFlight: count(1_024).describe(
      'of plans of more than 200 tables (each replica counted) or 100 KiB, worked on at once in a shard by a worker: it finds out how many are fastest, up to this',
    ),
    maxKeeperRequestsPerSecond: count(1_000_000).describe(
      'requests to ZooKeeper that a worker makes or causes, about; fewer where others need the ensemble',
    ),
    keepAside: z.boolean().describe('keep safety clones after a success'),
    checkParts: z
      .enum(['all', 'restored', 'none'])
      .describe('which tables `CHECK TABLE` reads before anything destructive'),
    unavailableDeadlineSeconds: count(MAX_SECONDS).describe('wait so long for ZooKeeper or a node to come back'),
    statementDeadlineSeconds: count(MAX_SECONDS).describe('a statement that runs longer counts as hung'),
    heartbeatTimeoutSeconds: count(3_600).describe('without a heartbeat for so long, another worker takes over'),
    sessionTimeoutSeconds: count(3_600).describe('longest session of a ClickHouse server in ZooKeeper'),
    resolveTimeoutSeconds: count(MAX_SECONDS).describe('wait so long for `resolve` when tables failed'),
  } satisfies Record<keyof Policy, z.ZodType>)
  .partial();

const keeperSchema = z.strictObject({
  hosts: z.array(text('host:port')).min(1).max(50),
  chroot: text('path that all paths are under').optional(),
});

const tlsSchema = z.strictObject({
  ca: z.strictObject({ file: text('path of a PEM file') }).optional(),
  insecure: z.boolean().describe('take any certificate: for tests only').optional(),
});

const nodeSchema = z.strictObject({
  name: text('unique in the cluster'),
  shard: text("the server's macro {shard}"),
  replica: text("the server's macro {replica}"),
  url: text('http or https address of the HTTP interface, without credentials'),
  user: text('default: "default"').optional(),
  password: secretRef('reference to the password').optional(),
  tls: tlsSchema.optional(),
});

const backupSchema = z.discriminatedUnion(
  'kind',
  [
    z.strictObject({
      kind: z.literal('native'),
      to: text("such as Disk('backups', '{cluster}/{shard}/{name}')"),
    }),
    z.strictObject({
      kind: z.literal('clickhouse-backup'),
      api: z
        .record(z.string(), text('http or https address of the REST API, without credentials'))
        .describe('by the name of the node that it runs beside; at least one in every shard'),
      user: text('of the REST API').optional(),
      password: secretRef('reference to the password of the REST API').optional(),
      tls: tlsSchema.optional(),
      metadata: z
        .record(
          z.string(),
          text('folder of its local backups as the worker sees it, such as /var/lib/clickhouse/backup'),
        )
        .describe('by the name of the node: what restored data is compared with')
        .optional(),
    }),
    z
      .strictObject({ kind: z.literal('cold') })
      .describe('cold copies, which the agents of the nodes hold; needs `cold` of the cluster'),
  ],
  {
    error: (issue) =>
      issue.code === 'invalid_union'
        ? 'unknown kind of backup: this version knows "native", "clickhouse-backup" and "cold"'
        : undefined,
  },
);

const clusterSchema = z.strictObject({
  keeper: keeperSchema,
  nodes: z.array(nodeSchema).min(1).max(1_000),
  backups: z.record(z.string(), backupSchema).optional(),
  cold: coldSchema.describe('the stop-the-world path').optional(),
  policies: policySchema.describe('override the policies at the top').optional(),
  scratch: z.boolean().describe('a target of drills: everything in it is dropped').optional(),
  ownDisks: z
    .array(text('as system.disks names it'))
    .max(100)
    .describe(
      'of a scratch cluster: object storage disks that no other server writes to, where the servers cannot tell',
    )
    .optional(),
  drill: drillSchema.describe('rehearsals of the recovery of this cluster').optional(),
});

export const configSchema = z.strictObject({
  clusters: z.record(z.string(), clusterSchema),
  policies: policySchema.optional(),
  reports: reportsSchema(secretRef).describe('where reports are kept: `dir` or `s3`').optional(),
  api: apiSchema.describe('the HTTP API, `ch-recover api`').optional(),
  temporal: z
    .strictObject({
      taskQueue: text('task queue of the workers').optional(),
      ui: text('address of the Temporal UI, for links').optional(),
    })
    .optional(),
});

export type RawConfig = z.infer<typeof configSchema>;
export type RawCluster = z.infer<typeof clusterSchema>;
export type NodeConfig = z.infer<typeof nodeSchema>;
export type ClickHouseBackupConfig = Extract<RawBackup, { kind: 'clickhouse-backup' }>;
export type RawBackup = z.infer<typeof backupSchema>;
export type KeeperConfig = z.infer<typeof keeperSchema>;

/** JSON Schema of recovery.yaml, for `ch-recover schema` and editors. */
export function configJsonSchema(): Record<string, unknown> {
  return { title: 'recovery.yaml', ...z.toJSONSchema(configSchema, { io: 'input' }) };
}
