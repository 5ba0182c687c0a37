import type { Run } from '../activities/index.js';
import type { PartsActivities } from '../agent/place.js';
import { chooseCopies, partsTaskQueue, PLACE_LANES, type CopyAnswer } from '../domain/cold-place.js';
import { newestCommon } from '../domain/cold-plan.js';
import { problem, RecoveryError } from '../domain/errors.js';
import type { PlanItem } from '../domain/plan.js';
import type { Policy } from '../domain/policy.js';
import { parseBackupRef, type RecoveryRequest } from '../domain/request.js';
import type { NodeRef } from '../domain/topology.js';
import { problemOf } from './failures.js';
import { hostActivities } from './host-activities.js';
import { Lanes } from '../domain/lanes.js';
import type { ActivitiesOf } from './units.js';

export interface ColdSource {
  cluster: string;
  nodes: readonly NodeRef[];
  policy: Policy;
  agentTimeoutSeconds: number;
}

/** A part that is missing after an attach is placed anew; what fails each time is not a matter of time. */
const MAX_ROUNDS = 3;

/** A cold copy as the backup of a recovery: its agents read it, and place its parts. */
export class ColdCopies {
  private readonly lanes = new Map<string, Lanes>();

  constructor(private readonly source: ColdSource) {}

  /** What a whole copy holds for each shard. Throws a RecoveryError where a shard has none. */
  async inspect({ backup }: RecoveryRequest): Promise<string[]> {
    const generation = parseBackupRef(backup ?? '').name ?? (await this.newest());
    const { nodes, cluster } = this.source;
    const answers = await Promise.all(
      nodes.map(async ({ name: host }): Promise<CopyAnswer> => {
        try {
          return {
            host,
            packed: await this.agent(host, `${generation} of ${host}`).readCopy({ generation }),
            problem: null,
          };
        } catch (error) {
          return { host, packed: null, problem: problemOf(error) };
        }
      }),
    );
    const choice = chooseCopies(cluster, nodes, answers);
    if ('problem' in choice) throw asError(choice.problem);
    return choice.chosen.flatMap(({ packed }) => packed ?? []);
  }

  /** The newest of those that all agents have that answer. */
  private async newest(): Promise<string> {
    const found = await Promise.all(
      this.source.nodes.map(({ name }) =>
        this.agent(name)
          .listCopies()
          .then(
            (generations) => ({ generations, problem: null }),
            (error: unknown) => ({ generations: null, problem: problemOf(error) }),
          ),
      ),
    );
    const lists = found.flatMap(({ generations }) => (generations ? [{ generations }] : []));
    const away = found.find(({ generations }) => generations === null)?.problem;
    if (lists.length === 0 && away) throw asError(away);
    const newest = newestCommon(lists);
    if (newest === null) throw asError(problem('COPY_UNKNOWN', 'no copy is on all nodes whose agents answer'));
    return newest;
  }

  /**
   * Parts of one table into its staging table: the agent places them, SQL attaches them, and the agent looks at what is
   * attached, until that is the copy's parts, each once.
   */
  async restore(item: PlanItem, { run, activities, label }: { run: Run; activities: ActivitiesOf; label: string }) {
    const order = item.place;
    if (!order) throw asError(problem('INTERNAL', `${label}: its plan has no cold copy`));
    const { host, generation, manifest } = order;
    const { database, table } = item;
    let afresh = false;
    let complaint = '';
    for (let round = 0; ; round++) {
      const { verified } = await activities.prepareStaging.executeWithOptions({ summary: label }, [
        { run, item, afresh },
      ]);
      if (verified) return;
      const placed = await this.lane(host).run(() =>
        this.agent(host, label).placeParts({ generation, manifest, database, table }),
      );
      if (placed.extra === 0 && placed.waiting === 0) return;
      if (round >= MAX_ROUNDS)
        throw asError(
          problem('RESTORE_FAILED', `${label}: ${placed.waiting} parts of the copy are not attached: ${complaint}`, {
            objects: [label],
          }),
        );
      afresh = placed.extra > 0;
      if (!afresh)
        ({ complaint } = await activities.attachParts.executeWithOptions({ summary: label }, [
          { run, item, parts: placed.parts },
        ]));
    }
  }

  private agent(host: string, summary?: string) {
    const { cluster, agentTimeoutSeconds, policy } = this.source;
    return hostActivities<PartsActivities>(
      { name: host, role: 'clickhouse' },
      {
        ...{ cluster, taskQueue: partsTaskQueue(cluster, host), agentTimeoutSeconds },
        heartbeatTimeoutSeconds: policy.heartbeatTimeoutSeconds,
      },
      summary,
    );
  }

  private lane(host: string): Lanes {
    let lanes = this.lanes.get(host);
    if (!lanes) this.lanes.set(host, (lanes = new Lanes(PLACE_LANES)));
    return lanes;
  }
}

const asError = ({ code, message, field, objects }: ReturnType<typeof problem>) =>
  new RecoveryError(code, message, { field, objects });
