#!/usr/bin/env node
import pino from 'pino';
import { backupCatalogue } from './activities/inspect-backup.js';
import { hasInterserverPort } from './activities/observe-node.js';
import { liftFence } from './activities/fence.js';
import { planRecovery } from './activities/plan-recovery.js';
import * as queries from './activities/queries.js';
import { detachedContext, toProblem, withPatience } from './activities/runtime.js';
import { createPorts } from './compose.js';
import { loadConfig } from './config/load.js';
import { TASK_QUEUE } from './domain/messages.js';
import { createProgram } from './interfaces/cli/program.js';
import type { DirectActions, DoctorCheck, DoctorReport } from './service/direct.js';
import type { ClusterPorts, Ports } from './ports.js';
import { runWorker } from './worker.js';

/** A command for a person waits a little for what is away, not as long as a recovery. Seconds. */
const PATIENCE_SECONDS = 5;

async function direct(configPath: string): Promise<DirectActions> {
  const config = await loadConfig(configPath);
  const log = pino({ level: process.env['CH_RECOVER_LOG'] ?? 'warn' }, pino.destination(2));
  const ports = createPorts(config, {
    log: { info: (fields, message) => log.info(fields, message), warn: (fields, message) => log.warn(fields, message) },
  });
  const taskQueue = config.temporal.taskQueue ?? TASK_QUEUE;
  return {
    taskQueue,
    plan: (request) => withPatience(PATIENCE_SECONDS, detachedContext(), () => planRecovery(ports, request)),
    doctor: (cluster) => examine(ports, cluster),
    unfence: async (name) => {
      const cluster = ports.cluster(name);
      const nodes = await Promise.all(
        cluster.topology.nodes.map(async (ref) => {
          try {
            return { name: ref.name, ok: true, detail: await liftFence(cluster.node(ref.name)) };
          } catch (error) {
            return { name: ref.name, ok: false, detail: toProblem(error).message };
          }
        }),
      );
      return { cluster: name, ok: nodes.every((node) => node.ok), nodes };
    },
    runWorker: () =>
      runWorker(config, {
        taskQueue,
        log: {
          info: (fields, message) => log.info(fields, message),
          warn: (fields, message) => log.warn(fields, message),
        },
        onReady: () => process.stdout.write(`worker ready on task queue ${taskQueue}\n`),
      }),
    close: () => ports.close(),
  };
}

async function check(name: string, body: () => Promise<string>): Promise<DoctorCheck> {
  try {
    return { name, ok: true, detail: await body() };
  } catch (error) {
    const found = toProblem(error);
    return { name, ok: false, detail: `${found.code}: ${found.message}` };
  }
}

/** Read-only checks of everything a recovery needs. */
async function examine(ports: Ports, name: string): Promise<DoctorReport> {
  const cluster = ports.cluster(name);
  const keeper = await check('keeper', async () =>
    (await cluster.keeper.exists('/')) ? 'answers' : 'has no root node',
  );
  const nodes = await Promise.all(cluster.topology.nodes.map((ref) => examineNode(cluster, ref.name)));
  const reachable = nodes.filter((node) => node.checks[0]?.ok === true).map((node) => node.name);
  const backups = await backupCatalogue(cluster, reachable).catch(() => []);
  return {
    cluster: name,
    ok: keeper.ok && nodes.every((node) => node.ok),
    nodes,
    keeper: { ok: keeper.ok, detail: keeper.detail },
    backups,
  };
}

async function examineNode(cluster: ClusterPorts, name: string): Promise<DoctorReport['nodes'][number]> {
  const node = cluster.node(name);
  let version = '';
  let embedded = false;
  const checks = [
    await check('answers', async () => {
      version = (await node.query<{ version: string }>(queries.NODE))[0]?.version ?? '';
      embedded = !(await hasInterserverPort(node));
      return `ClickHouse ${version}`;
    }),
  ];
  if (checks[0]?.ok === true) {
    checks.push(
      await check('macros', async () => {
        const macros = Object.fromEntries(
          (await node.query<{ macro: string; substitution: string }>(queries.MACROS)).map((row) => [
            row.macro,
            row.substitution,
          ]),
        );
        for (const key of ['shard', 'replica'] as const)
          if (macros[key] !== undefined && macros[key] !== node.ref[key])
            throw new Error(`macro {${key}} is ${macros[key]}, the configuration says ${node.ref[key]}`);
        return `shard ${macros['shard'] ?? '–'}, replica ${macros['replica'] ?? '–'}`;
      }),
      await check(
        'backups',
        async () =>
          `system.backups has ${(await node.query<{ n: string }>('SELECT count() AS n FROM system.backups'))[0]?.n ?? 0} operations`,
      ),
      await check('unfinished recovery', async () => {
        const left = await node.query(queries.RECOVERY_TABLES);
        if (left.length > 0) throw new Error(`${left.length} tables of an unfinished recovery are in _recovery`);
        return 'none';
      }),
    );
  }
  return {
    name,
    shard: node.ref.shard,
    replica: node.ref.replica,
    ok: checks.every((each) => each.ok),
    version,
    embedded,
    checks,
  };
}

process.exitCode = await createProgram(direct).run(process.argv);
