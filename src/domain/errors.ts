/**
 * The one error table: it drives the code, whether a retry helps, HTTP status, exit code, hint and docs/errors.md.
 *
 * `outcome` says how a recovery that stops on this error ends: `failed` (start it again when the hint is done) or
 * `needs-operator` (a person has to decide something first).
 */
export interface ErrorEntry {
  readonly summary: string;
  readonly hint: string;
  /** True when the same call may succeed later without anybody changing the request. */
  readonly retryable: boolean;
  readonly httpStatus: number;
  readonly exitCode: 1 | 2 | 3;
  readonly outcome: 'failed' | 'needs-operator';
}

const input = (summary: string, hint: string): ErrorEntry => ({
  summary,
  hint,
  retryable: false,
  httpStatus: 400,
  exitCode: 2,
  outcome: 'failed',
});
const transient = (summary: string, hint: string): ErrorEntry => ({
  summary,
  hint,
  retryable: true,
  httpStatus: 503,
  exitCode: 1,
  outcome: 'failed',
});
const operator = (summary: string, hint: string): ErrorEntry => ({
  summary,
  hint,
  retryable: false,
  httpStatus: 409,
  exitCode: 3,
  outcome: 'needs-operator',
});
const failure = (summary: string, hint: string): ErrorEntry => ({
  summary,
  hint,
  retryable: false,
  httpStatus: 500,
  exitCode: 1,
  outcome: 'failed',
});

export const ERRORS = {
  // bad input, refused at the edge: nothing was fenced, touched or left running
  INPUT_INVALID: input(
    'the request is not valid',
    'correct the field that is named; `ch-recover schema` prints the schema',
  ),
  CONFIG_INVALID: input('the configuration is not valid', 'correct the field that is named in recovery.yaml'),
  CONFIG_NOT_FOUND: input('the configuration file cannot be read', 'give --config FILE or set CH_RECOVER_CONFIG'),
  CLUSTER_UNKNOWN: {
    ...input('no such cluster in the configuration', 'use one of the clusters in recovery.yaml'),
    httpStatus: 404,
  },
  BACKUP_UNKNOWN: input(
    'no such backup',
    'name one as REPO or REPO/NAME; `ch-recover doctor` lists those that `ch-recover backup` took',
  ),
  TABLES_MATCH_NOTHING: input('a table pattern matches no table', 'patterns are `database.table` with * as a wildcard'),
  SECRET_MISSING: input(
    'a secret reference cannot be resolved',
    'set the environment variable or file that the reference names, where the worker runs',
  ),
  WORKFLOW_UNKNOWN: {
    ...input('no such recovery', 'use the workflow id that `ch-recover start` printed'),
    httpStatus: 404,
  },
  PLAN_STALE: {
    ...input('that is not the hash of the current plan', 'read the plan again and approve its present hash'),
    httpStatus: 409,
  },
  REQUEST_CONFLICT: {
    ...input('this key or incident has a recovery with another request', 'look at that recovery, or use another key'),
    httpStatus: 409,
  },
  RECOVERY_ENDED: { ...input('the recovery has ended', 'read its report, or start another one'), httpStatus: 409 },
  NOT_YET: {
    ...input('the recovery has not come that far', 'ask again later, or follow its events'),
    retryable: true,
    httpStatus: 409,
  },

  // refused when a worker with the plugin is made
  ACTIVITY_NAME_TAKEN: input(
    'an activity of the worker has the name of one of ours',
    'rename yours, or run recoveries in a worker of their own; running recoveries know ours by its name',
  ),
  BUNDLE_MISMATCH: input(
    'the prebuilt workflow bundle was made with another version of the Temporal SDK',
    'use `temporal-clickhouse-recovery/workflows` in a bundle of your own, or the SDK version that is named',
  ),

  // refused by the HTTP API before anything was looked at
  UNAUTHENTICATED: {
    ...input('no valid token', 'send `Authorization: Bearer TOKEN`; the sha256 of TOKEN stands in recovery.yaml'),
    httpStatus: 401,
  },
  FORBIDDEN: { ...input('the token has no role for this', 'use a token with the role that is named'), httpStatus: 403 },
  ENDPOINT_UNKNOWN: { ...input('there is no such endpoint', '/openapi.json lists them all'), httpStatus: 404 },
  BODY_TOO_LARGE: { ...input('the request body is too large', 'send less; 512 KiB are allowed'), httpStatus: 413 },
  BODY_TOO_SLOW: {
    ...input('the request body did not arrive in time', 'send it at once, then send the request again'),
    httpStatus: 408,
  },
  BODY_NOT_JSON: { ...input('the request body is not JSON', 'send JSON as `application/json`'), httpStatus: 415 },
  RATE_LIMITED: {
    ...input('too many requests with this token', 'wait as long as `Retry-After` says'),
    retryable: true,
    httpStatus: 429,
  },

  // away for now
  KEEPER_UNAVAILABLE: transient(
    'ZooKeeper (or ClickHouse Keeper) has no quorum or cannot be reached',
    'bring the ensemble back; nothing was deleted, start again afterwards',
  ),
  NODE_UNAVAILABLE: transient(
    'a ClickHouse node cannot be reached',
    'start the node; the recovery looks again and goes on',
  ),
  SESSION_EXPIRED: transient(
    'a table has lost its ZooKeeper session and does not get it back',
    'restart the ClickHouse server of that node, then `resolve retry`',
  ),
  TEMPORAL_UNAVAILABLE: transient(
    'the Temporal server cannot be reached',
    'check TEMPORAL_ADDRESS and that the server is up',
  ),
  WORKER_UNAVAILABLE: transient(
    'no worker polls the task queue',
    'start one with `ch-recover worker`, with the same recovery.yaml, TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE',
  ),
  REPORTS_UNAVAILABLE: transient(
    'the report store cannot be reached or read',
    'check `reports` in recovery.yaml; the report of a recovery is also the result of its workflow',
  ),
  PLAN_UNAVAILABLE: transient(
    'a plan that is too large for a history cannot be read from, or written to, the report store',
    'check `reports` in recovery.yaml: all workers need the same store; the recovery waits for it, and goes on by itself',
  ),
  BACKUP_BUSY: transient(
    'clickhouse-backup is busy with another operation',
    'wait for it to end (GET /backup/actions shows it), then `resolve retry`',
  ),
  AGENT_UNAVAILABLE: transient(
    'the agent of a host does not answer',
    'start `ch-recover agent` on that host, with the same TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE, and try again',
  ),
  STALE_ATTEMPT: transient(
    'this worker was stopped for longer than its heartbeat allows',
    'none needed: another attempt takes over',
  ),

  // a person decides
  REPLICA_ACTIVE: operator(
    'a live replica holds the ZooKeeper path',
    'find the server that holds it (wrong macros?) and stop it; a path with is_active is never dropped',
  ),
  KEEPER_OUT_OF_STEP: operator(
    'ZooKeeper and the disk of a replica are of different times',
    'ZooKeeper came back from an older copy? stop the writers, take the tables’ paths out of it and start again: their parts tell; an insert was cut off just now? start again in 5 minutes',
  ),
  REPLICAS_DIVERGED: operator(
    'neither replica has all the parts of the other',
    'decide which replica wins; the report lists the parts only one of them has',
  ),
  HALF_RESTORED_NO_BASELINE: operator(
    'an interrupted SYSTEM RESTORE REPLICA without a safety clone',
    'start again with --backup, or repair the parts in detached/ by hand',
  ),
  DEFINITION_HAS_SECRET: operator(
    'the definition of a lost object carries a credential, or hides it',
    'create the object by hand from your own schema: a credential must not pass through Temporal, and a masked one would be wrong',
  ),
  EXPLICIT_KEEPER_PATH: operator(
    'the table has an explicit ZooKeeper path, which ATTACH AS REPLICATED cannot keep',
    'recover it on a live server, or recreate it with the default replica path',
  ),
  DATA_LOST_NO_BACKUP: operator(
    'data is lost on every replica of a shard and no backup was named',
    'start again with --backup',
  ),
  NOT_RECOVERABLE: operator(
    'the table uses a feature this tool does not recover',
    'recover it by hand as the report says',
  ),
  STATEMENT_HUNG: operator(
    'a statement of ours does not return',
    'look at system.processes on the node; restart the node, then `resolve retry`',
  ),
  FENCE_BYPASSED: operator('something writes to a table under recovery', 'stop the writer, then `resolve retry`'),
  RECOVERY_UNFINISHED: operator(
    'an earlier recovery left its safety clones on a node',
    'start with "adopt": true to go on from them, or `ch-recover unfence` and drop `_recovery` when its data is not needed',
  ),
  RECOVERY_RUNNING: operator(
    'another recovery runs on this cluster',
    'watch that one; there is one recovery per cluster at a time',
  ),
  UUID_PENDING_DROP: operator(
    'a dropped table still holds the UUID',
    'UNDROP TABLE it, or wait for database_atomic_delay_before_drop_table_sec and `resolve retry`',
  ),
  WRONG_MACROS: operator(
    'the node is not the shard or replica that the configuration says',
    'correct the macros of the server or recovery.yaml',
  ),
  UNSUPPORTED_SERVER: operator(
    'the server lacks a statement that this recovery needs',
    '`ch-recover doctor` names it: upgrade the server, then start again (with --adopt where clones are in _recovery), or recover the table by hand',
  ),
  PART_BROKEN: operator(
    'CHECK TABLE found a broken part',
    'the table is left as it was; restore it from a backup, or drop the part by hand',
  ),
  COPY_NO_SPACE: operator(
    'there is not enough space for a cold copy, or to put one into place',
    'make space, or name another folder in agent.yaml, then try again; the cluster runs',
  ),
  DISK_FULL: operator('there is not enough space on a disk', 'make space, then `resolve retry`'),
  CREDENTIALS_REFUSED: operator(
    'a server refuses our credentials',
    'correct the credentials that the reference names, then `resolve retry`',
  ),

  // drills: refused before anything is sent but reads
  DRILL_NOT_CONFIGURED: input(
    'the cluster has no drill in the configuration',
    'add `drill: { target, objectives }` to the cluster and `scratch: true` to the target',
  ),
  DRILL_TARGET_UNSAFE: operator(
    'it is not proved that the target of the drill is apart from production',
    'give the scratch cluster servers, disks and a ZooKeeper path of its own; nothing was restored',
  ),
  DRILL_TARGET_NOT_EMPTY: operator(
    'the target of the drill holds something that no drill made',
    'look at it, drop it yourself where it may go, and run the drill again',
  ),
  DRILL_RUNNING: operator('another drill uses this target', 'wait for its end, or give this cluster another target'),

  // drills: what was found out
  DRILL_NO_DATA: failure('the drill restored no row', 'take a backup, and look at what it holds'),
  DRILL_DATA_MISSING: failure(
    'tables or rows that the drill should have restored are not there',
    'look at what the backup job leaves out',
  ),
  DRILL_UNVERIFIED: failure(
    'what was restored cannot be compared with anything',
    'take backups with `ch-recover backup`: their manifest is what a drill compares with',
  ),
  DRILL_RTO_MISSED: failure(
    'the recovery took longer than the objective allows',
    'see the stages in the report of the drill, or change objectives.rtoSeconds',
  ),
  DRILL_RPO_MISSED: failure(
    'the restored data is older than the objective allows',
    'see whether backups are still taken, or change objectives.rpoSeconds',
  ),
  DRILL_TIMEOUT: failure(
    'the drill did not end in time',
    'see what its recovery waits for, or raise drill.timeoutSeconds',
  ),
  DRILL_NOT_CLEAN: failure(
    'the target could not be cleaned up after the drill',
    'see the error; the next drill cleans up first',
  ),

  // the stop-the-world path
  CLUSTER_UNHEALTHY: operator(
    'the cluster is not whole, so a copy of it would not be',
    'look at `ch-recover doctor`, repair it with `ch-recover start`, then try again; nothing was stopped',
  ),
  SERVICE_NOT_STOPPED: operator(
    'a service does not stop, or something starts it again',
    'see the `stop` and `probe` commands of the agent on that host; the cluster was brought up again',
  ),
  SERVICE_NOT_STARTED: operator(
    'a service does not come up',
    'look at its log on that host; start ZooKeeper first, then ClickHouse',
  ),
  CLUSTER_DOWN: operator(
    'the cluster could not be brought up again',
    'start what is named by hand, ZooKeeper first, then ClickHouse',
  ),

  // refused before the fence
  COPY_UNKNOWN: input('no such cold copy', 'see the folder `copies` of the agents; `ch-recover cold verify` reads one'),
  COPY_DAMAGED: failure('a cold copy is damaged', 'use another copy, or bring the files back; nothing was stopped'),
  MANIFEST_INVALID: failure('the backup manifest is damaged', 'use another backup; nothing was touched'),
  MANIFEST_MISMATCH: failure(
    'the backup belongs to another cluster or shard',
    'name the backup of this cluster and shard; nothing was touched',
  ),
  MANIFEST_NEWER: failure(
    'the backup manifest has a newer version than this program',
    'upgrade temporal-clickhouse-recovery',
  ),

  // it did not work
  STATEMENT_NOT_APPROVED: failure(
    'a statement is not in the approved plan',
    'this is a defect: please report it; nothing was sent',
  ),
  VERIFY_FAILED: failure(
    'what was restored is not what the backup or the clone holds',
    'the clone in `_recovery` is kept; see the difference in the report',
  ),
  VALIDATION_FAILED: failure(
    'the recovered table does not pass validation',
    'the fence and the clones stay; see the report',
  ),
  COLD_VALIDATION_FAILED: failure(
    'the cluster that was started is not what the copy holds',
    'see the differences in the report; what stood there before a restore is kept aside',
  ),
  BACKUP_FAILED: failure('the backup failed', 'see the error of the server'),
  RESTORE_FAILED: failure(
    'the data could not be restored from the backup',
    'see the error of the server; staging tables are in `_recovery`',
  ),
  STATEMENT_FAILED: failure('a statement failed', 'see the error of the server'),
  NO_PROGRESS: failure(
    'the steps for a table do not converge',
    'the clone in `_recovery` is kept; see the steps in the report',
  ),
  APPROVAL_TIMEOUT: failure('nobody approved the plan in time', 'start again'),
  REJECTED: failure('the plan was rejected or the recovery aborted', 'start again when ready'),
  INTERNAL: failure('an unexpected error', 'see the worker log'),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERRORS, code);
}

/** An error of the table above, with the field or object it is about. The message never holds a secret. */
export class RecoveryError extends Error {
  override readonly name = 'RecoveryError';
  constructor(
    readonly code: ErrorCode,
    message: string,
    /** `field`: path in the input; `objects`: names of tables, parts, nodes. Kept small: it goes into histories. */
    readonly details: { field?: string; objects?: string[]; serverCode?: number } = {},
  ) {
    super(message);
  }
  get hint(): string {
    return ERRORS[this.code].hint;
  }
}

/** One error as it stands in reports and answers. */
export interface Problem {
  code: ErrorCode;
  message: string;
  hint: string;
  field?: string;
  objects?: string[];
}

export function problem(code: ErrorCode, message: string, extra: { field?: string; objects?: string[] } = {}): Problem {
  return { code, message, hint: ERRORS[code].hint, ...extra };
}
